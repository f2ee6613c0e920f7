create or replace function integrity.column_mismatches(app_schema text)
returns table (
  relation text,
  attribute text,
  found text,
  expected text,
  mend text
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with present as (
    select
      class.oid as relation_id,
      class.relname::text as relation,
      attribute.attname::text as attribute,
      attribute.attnum,
      format_type(attribute.atttypid, null) as type,
      attribute.attnotnull,
      attribute.atthasdef or attribute.attidentity <> '' as has_default
    from pg_class as class
    inner join pg_attribute as attribute
      on
        class.oid = attribute.attrelid
        and attribute.attnum > 0
        and not attribute.attisdropped
    where
      class.relnamespace = to_regnamespace(quote_ident(column_mismatches.app_schema))
      and class.relkind = 'r'
      and class.relname in (select needed.relation from integrity.needed_column as needed)
  )

  select
    needed.relation,
    needed.attribute,
    coalesce(present.type, 'missing') as found,
    needed.type as expected,
    null as mend
  from integrity.needed_column as needed
  left join present
    on
      needed.relation = present.relation
      and needed.attribute = present.attribute
  where
    needed.relation in (select existing.relation from present as existing)
    and case present.type when 'character varying' then 'text' else present.type end is distinct from needed.type
  union all
  select
    needed.relation,
    needed.attribute,
    'not null' as found,
    'nullable: the layer leaves it empty' as expected,
    format(
      'alter table %I.%I alter column %I drop not null',
      column_mismatches.app_schema, needed.relation, needed.attribute
    ) as mend
  from integrity.needed_column as needed
  inner join present
    on
      needed.relation = present.relation
      and needed.attribute = present.attribute
  where
    needed.is_left_empty
    and present.attnotnull
  union all
  select
    present.relation,
    present.attribute,
    'not null without a default' as found,
    'nullable or with a default: an approval inserts a participant and does not know this column' as expected,
    -- Only where a constraint has no say in the value.
    case
      when
        needed.attribute is null
        and not exists (
          select
          from pg_constraint as own
          where
            own.conrelid = present.relation_id
            and own.contype <> 'n'
            and present.attnum = any(own.conkey)
        )
        then
          format(
            'alter table %I.%I alter column %I set default ',
            column_mismatches.app_schema, present.relation, present.attribute
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
    and needed.is_filled is not true
$$;

comment on function integrity.column_mismatches(text) is
'Returns the columns of the app''s tables in the given schema that the layer cannot work with, from the catalog alone, each with the statement that makes it fit where one is safe. Empty when all fit.';

-- With the rights of the caller: integrity.guard_status, which readers may ask, calls it.
grant execute on function integrity.column_mismatches(text) to public;
