create or replace view integrity.column_mismatch as
with present as (
  select
    schema.nspname as app_schema,
    class.oid as relation_id,
    class.relname as relation,
    attribute.attname as attribute,
    attribute.attnum,
    format_type(attribute.atttypid, null) as type,
    attribute.attnotnull,
    attribute.atthasdef or attribute.attidentity <> '' as has_default
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_namespace as schema
    on class.relnamespace = schema.oid
  inner join pg_catalog.pg_attribute as attribute
    on
      class.oid = attribute.attrelid
      and attribute.attnum > 0
      and not attribute.attisdropped
  where
    class.relkind = 'r'
    and class.relname in (select needed.relation from integrity.needed_column as needed)
),

wanted as (
  select distinct
    present.app_schema,
    needed.relation,
    needed.attribute,
    needed.type,
    needed.is_left_empty
  from integrity.needed_column as needed
  inner join present
    on needed.relation = present.relation
)

select
  wanted.app_schema,
  wanted.relation,
  wanted.attribute,
  coalesce(present.type, 'missing') as found,
  wanted.type as expected,
  null::text as mend
from wanted
left join present
  on
    wanted.app_schema = present.app_schema
    and wanted.relation = present.relation
    and wanted.attribute = present.attribute
where case present.type when 'character varying' then 'text' else present.type end is distinct from wanted.type
union all
select
  wanted.app_schema,
  wanted.relation,
  wanted.attribute,
  'not null' as found,
  'nullable: the layer leaves it empty' as expected,
  format(
    'alter table %I.%I alter column %I drop not null', wanted.app_schema, wanted.relation, wanted.attribute
  ) as mend
from wanted
inner join present
  on
    wanted.app_schema = present.app_schema
    and wanted.relation = present.relation
    and wanted.attribute = present.attribute
where
  wanted.is_left_empty
  and present.attnotnull
union all
select
  present.app_schema,
  present.relation,
  present.attribute,
  'not null without a default' as found,
  'nullable or with a default: an approval inserts a participant and does not know this column' as expected,
  -- Safe only for a column that neither the layer nor a constraint uses.
  case
    when
      needed.attribute is null
      and not exists (
        select
        from pg_catalog.pg_constraint as own
        where
          own.conrelid = present.relation_id
          and own.contype <> 'n'
          and present.attnum = any(own.conkey)
      )
      then
        format(
          'alter table %I.%I alter column %I set default ', present.app_schema, present.relation, present.attribute
        ) || case
          when present.type in ('text', 'character varying') then ''''''
          when present.type in ('smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision') then '0'
          when present.type = 'boolean' then 'false'
          when present.type = 'timestamp with time zone' then 'now()'
          when present.type = 'date' then 'current_date'
        end
  end as mend
from present
left join integrity.needed_column as needed
  on
    present.relation = needed.relation
    and present.attribute = needed.attribute
where
  present.relation = 'quests_questparticipant'
  and present.attnotnull
  and not present.has_default
  and needed.is_filled is not true;

comment on view integrity.column_mismatch is
'Columns that do not fit the layer, in tables named like the app''s in any schema: what was found, what is expected, and the statement that fixes it (mend), NULL where none is safe. Reads the catalog only. Empty when all columns fit.';

revoke all on integrity.column_mismatch from public;
