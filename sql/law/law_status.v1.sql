create or replace view integrity.law_status as
with placed as (
  select
    law.name,
    law.relation,
    law.kind,
    law.columns,
    law.definition,
    law.requires,
    law.waits,
    law.stand_in,
    law.rules,
    law.chosen,
    law.position,
    installation.app_schema,
    class.oid as relation_id,
    class.relnamespace as schema_id
  from integrity.law as law
  cross join integrity.installation as installation
  left join pg_catalog.pg_class as class
    on
      law.relation = class.relname
      and class.relnamespace = to_regnamespace(quote_ident(installation.app_schema))
),

observed as (
  select
    placed.*,
    case
      when
        placed.chosen is false
        and own.oid is null
        and own_index.indexrelid is null
        then 'not requested'
      when own.convalidated and stand_in.oid is not null then 'stood in for'
      when own.convalidated then 'enforced'
      when own.oid is not null then 'not validated'
      when not own_index.indisvalid then 'index invalid'
      when own_index.indisvalid and placed.kind = 'unique index' then 'enforced'
      when own_index.indisvalid then 'index built'
      when needed.oid is null and placed.requires is not null then 'waiting'
      else 'missing'
    end as state
  from placed
  left join pg_catalog.pg_constraint as own
    on
      placed.relation_id = own.conrelid
      and placed.name = own.conname
  left join pg_catalog.pg_trigger as stand_in
    on
      placed.relation_id = stand_in.tgrelid
      and placed.stand_in = stand_in.tgname
  left join pg_catalog.pg_class as index_class
    on
      placed.name = index_class.relname
      and placed.schema_id = index_class.relnamespace
  left join pg_catalog.pg_index as own_index
    on index_class.oid = own_index.indexrelid
  left join pg_catalog.pg_constraint as needed
    on
      placed.requires = needed.conname
      and placed.schema_id = needed.connamespace
)

select
  observed.name,
  observed.relation,
  observed.kind,
  observed.state,
  observed.requires,
  observed.waits,
  observed.rules,
  case observed.state
    when 'stood in for'
      then format('drop trigger %I on %I.%I', observed.stand_in, observed.app_schema, observed.relation)
    when 'not validated'
      then
        format(
          'alter table %I.%I validate constraint %I',
          observed.app_schema, observed.relation, observed.name
        )
    when 'index invalid'
      then format('drop index concurrently if exists %I.%I', observed.app_schema, observed.name)
    when 'index built'
      then
        format(
          'alter table %I.%I add constraint %I unique using index %I %s',
          observed.app_schema, observed.relation, observed.name, observed.name, observed.definition
        )
    when 'missing'
      then
        case observed.kind
          when 'unique'
            then
              format(
                'create unique index concurrently %I on %I.%I (%s)',
                observed.name, observed.app_schema, observed.relation, observed.columns
              )
          when 'unique index'
            then
              format(
                'create unique index concurrently %I on %I.%I (%s) %s',
                observed.name, observed.app_schema, observed.relation, observed.columns, observed.definition
              )
          else
            format(
              'alter table %I.%I add constraint %I %s not valid',
              observed.app_schema, observed.relation, observed.name, observed.definition
            )
        end
  end as statement,
  observed.position,
  observed.chosen
from observed;

comment on view integrity.law_status is
'Every constraint of the law with its state (not requested, missing, waiting, index invalid, index built, not validated, stood in for, enforced) and the statement that takes it one step further, NULL when there is none.';

revoke all on integrity.law_status from public;
