create or replace function integrity.schema_mismatches(app_schema text)
returns table (
  subject text,
  found text,
  expected text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  relation text;
  known text[];
  in_use text[];
begin
  return query
  with tables as (
    select
      wanted.relation,
      class.oid,
      class.relkind,
      class.relowner
    from (select distinct needed.relation from integrity.needed_column as needed) as wanted
    left join pg_class as class
      on
        wanted.relation = class.relname
        and class.relnamespace = to_regnamespace(quote_ident(schema_mismatches.app_schema))
  )

  select
    format('table %I.%I', schema_mismatches.app_schema, tables.relation),
    case when tables.oid is null then 'missing' else 'relation of kind ' || tables.relkind::text end,
    'an ordinary table'
  from tables
  where tables.relkind is distinct from 'r'
  union all
  select
    format('table %I.%I', schema_mismatches.app_schema, tables.relation),
    format('owned by %I', pg_get_userbyid(tables.relowner)),
    format('owned by %I or a role it is a member of', current_user)
  from tables
  where
    tables.oid is not null
    and not pg_has_role(tables.relowner, 'usage')
  union all
  select
    format('column %I.%I', mismatch.relation, mismatch.attribute),
    mismatch.found,
    mismatch.expected
  from integrity.column_mismatch as mismatch
  where mismatch.app_schema = schema_mismatches.app_schema
  union all
  select
    format('table %I.%I', schema_mismatches.app_schema, tables.relation),
    'no primary key on (id)',
    'primary key (id)'
  from tables
  where
    tables.relkind = 'r'
    and not exists (
      select
      from pg_constraint as key
      inner join pg_attribute as attribute
        on
          key.conrelid = attribute.attrelid
          and attribute.attname = 'id'
      where
        key.conrelid = tables.oid
        and key.contype = 'p'
        and attribute.attnum = any(key.conkey)
        -- Citus wants the quest in every key.
        and not exists (
          select
          from pg_attribute as other
          where
            other.attrelid = tables.oid
            and other.attnum = any(key.conkey)
            and other.attname <> 'id'
            and (
              other.attname <> 'quest_id'
              or not exists (select from pg_extension as extension where extension.extname = 'citus')
            )
        )
    )
  union all
  select
    format('column %I.%I', tables.relation, attribute.attname),
    format_type(attribute.atttypid, null),
    'no column of this name: it is the layer''s own'
  from tables
  inner join pg_attribute as attribute
    on
      tables.oid = attribute.attrelid
      and attribute.attname in ('integrity_assigned', 'integrity_approved', 'integrity_active')
      and not attribute.attisdropped
  where tables.relation in ('quests_quest', 'applications_application', 'quests_questparticipant')
  union all
  select
    mismatch.subject,
    mismatch.found,
    mismatch.expected
  from integrity.distribution_mismatches(schema_mismatches.app_schema) as mismatch;

  for relation, known in
    select
      listed.relation,
      array_agg(listed.status order by listed.position)
    from integrity.status as listed
    group by listed.relation
    order by listed.relation
  loop
    continue when not exists (
      select
      from pg_attribute as attribute
      where
        attribute.attrelid = to_regclass(format('%I.%I', schema_mismatches.app_schema, relation))
        and attribute.attname = 'status'
        and format_type(attribute.atttypid, null) in ('text', 'character varying')
        and has_table_privilege(attribute.attrelid, 'select')
    );

    execute format('select array_agg(distinct status::text) from %I.%I', schema_mismatches.app_schema, relation)
    into in_use;

    -- One unknown status is a violation. If no status is known, the column has another meaning than the app's.
    if not in_use && known then
      return query
      select
        format('column %I.status', relation),
        format('statuses in use: %s', array_to_string(in_use, ', ')),
        array_to_string(known, ', ');
    end if;
  end loop;
end
$$;

comment on function integrity.schema_mismatches(text) is
'Returns every reason why the layer cannot be installed on the app''s tables in the given schema: what was found and what is expected. Returns no rows when the tables fit.';

revoke all on function integrity.schema_mismatches(text) from public;
