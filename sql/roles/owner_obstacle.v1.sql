create or replace view integrity.owner_obstacle as
with app_table as (
  select
    class.oid,
    class.relname as relation,
    class.relrowsecurity
  from integrity.installation as installation
  inner join pg_catalog.pg_namespace as schema
    on installation.app_schema = schema.nspname
  inner join pg_catalog.pg_class as class
    on
      schema.oid = class.relnamespace
      and class.relname in ('quests_quest', 'applications_application', 'quests_questparticipant')
)

select 'there is no role integrity_owner' as obstacle
where to_regrole('integrity_owner') is null
union all
select format('%I is no member of integrity_owner', current_user) as obstacle
from pg_catalog.pg_roles as owner_role
where
  owner_role.rolname = 'integrity_owner'
  and not pg_has_role(owner_role.oid, 'usage')
union all
select 'integrity_owner can log in or is a superuser' as obstacle
from pg_catalog.pg_roles as owner_role
where
  owner_role.rolname = 'integrity_owner'
  and (owner_role.rolcanlogin or owner_role.rolsuper)
union all
select format('integrity_owner may not use the schema %I', schema.nspname) as obstacle
from integrity.installation as installation
inner join pg_catalog.pg_namespace as schema
  on installation.app_schema = schema.nspname
inner join pg_catalog.pg_roles as owner_role
  on
    owner_role.rolname = 'integrity_owner'
    and not has_schema_privilege(owner_role.oid, schema.oid, 'usage')
union all
-- The rule views would miss the violations in hidden rows.
select format('row-level security on %I would hide rows from integrity_owner', app_table.relation) as obstacle
from app_table
inner join pg_catalog.pg_roles as owner_role
  on
    owner_role.rolname = 'integrity_owner'
    and not owner_role.rolbypassrls
where app_table.relrowsecurity
union all
-- Fired by a write of the layer, it would run with the rights of integrity_owner, which can be too few.
select format('trigger %I on %I needs rights of its own', foreign_trigger.tgname, app_table.relation) as obstacle
from app_table
inner join pg_catalog.pg_trigger as foreign_trigger
  on
    app_table.oid = foreign_trigger.tgrelid
    and not foreign_trigger.tgisinternal
inner join pg_catalog.pg_proc as its_function
  on
    foreign_trigger.tgfoid = its_function.oid
    and not its_function.prosecdef
    and its_function.pronamespace <> 'integrity'::regnamespace
union all
-- A function that runs as its owner and reads the app's tables connects to the other nodes as that owner.
select 'Citus would have to log in to its nodes as integrity_owner' as obstacle
from pg_catalog.pg_extension as extension
where extension.extname = 'citus';

comment on view integrity.owner_obstacle is
'The reasons why integrity_owner cannot own the layer in this database. Empty when it can.';

revoke all on integrity.owner_obstacle from public;
