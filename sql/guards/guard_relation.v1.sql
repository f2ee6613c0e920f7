create or replace view integrity.guard_relation as
select
  class.oid as relation,
  class.relkind as form,
  format('%I.%I', schema.nspname, class.relname) as relation_name,
  case
    when part.inhrelid is not null then 'partition'
    when schema.nspname = 'integrity' then 'own'
    else 'app'
  end as origin
from pg_catalog.pg_class as class
inner join pg_catalog.pg_namespace as schema
  on class.relnamespace = schema.oid
left join pg_catalog.pg_inherits as part
  on
    class.oid = part.inhrelid
    and part.inhparent = to_regclass('integrity.event')
where
  class.relkind in ('r', 'p', 'v', 'm', 'S')
  and (
    part.inhrelid is not null
    or class.relnamespace = to_regnamespace('integrity')
    or (
      class.relname in ('applications_application', 'quests_questparticipant', 'quests_quest')
      and class.relnamespace = (
        select to_regnamespace(quote_ident(installation.app_schema))
        from integrity.installation as installation
      )
    )
  );

comment on view integrity.guard_relation is
'The relations that the guards check: those in schema integrity, the partitions of the event log, and the app''s tables with objects of the layer.';

revoke all on integrity.guard_relation from public;
