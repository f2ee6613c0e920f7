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
  with needed (relation, attribute, type, must_be_nullable) as (
    values
      ('users_user', 'id', 'uuid', false),
      ('quests_quest', 'id', 'bigint', false),
      ('quests_quest', 'status', 'text', false),
      ('quests_quest', 'assigned_to_id', 'uuid', true),
      ('quests_quest', 'completed_at', 'timestamp with time zone', false),
      ('applications_application', 'id', 'bigint', false),
      ('applications_application', 'quest_id', 'bigint', false),
      ('applications_application', 'applicant_id', 'uuid', false),
      ('applications_application', 'status', 'text', false),
      ('applications_application', 'applied_at', 'timestamp with time zone', false),
      ('applications_application', 'reviewed_at', 'timestamp with time zone', false),
      ('quests_questparticipant', 'id', 'bigint', false),
      ('quests_questparticipant', 'quest_id', 'bigint', false),
      ('quests_questparticipant', 'user_id', 'uuid', false),
      ('quests_questparticipant', 'status', 'text', false),
      ('quests_questparticipant', 'joined_at', 'timestamp with time zone', false),
      ('quests_questparticipant', 'progress_notes', 'text', false),
      ('quests_questparticipant', 'application_id', 'bigint', true),
      ('quests_questparticipant', 'application_date', 'timestamp with time zone', true),
      ('quests_questparticipant', 'reviewed_at', 'timestamp with time zone', true)
  ),

  tables as (
    select
      wanted.relation,
      class.oid,
      class.relkind,
      class.relowner
    from (select distinct needed.relation from needed) as wanted
    left join pg_class as class
      on
        wanted.relation = class.relname
        and class.relnamespace = to_regnamespace(quote_ident(schema_mismatches.app_schema))
  ),

  attributes as (
    select
      tables.relation,
      tables.oid as relation_id,
      attribute.attname,
      attribute.attnum,
      format_type(attribute.atttypid, null) as type,
      attribute.attnotnull,
      attribute.atthasdef or attribute.attidentity <> '' as has_default
    from tables
    inner join pg_attribute as attribute
      on
        tables.oid = attribute.attrelid
        and attribute.attnum > 0
        and not attribute.attisdropped
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
    format('column %I.%I', needed.relation, needed.attribute),
    coalesce(attributes.type, 'missing'),
    needed.type
  from needed
  inner join tables
    on
      needed.relation = tables.relation
      and tables.relkind = 'r'
  left join attributes
    on
      needed.relation = attributes.relation
      and needed.attribute = attributes.attname
  where
    attributes.attname is null
    or (case attributes.type when 'character varying' then 'text' else attributes.type end) <> needed.type
  union all
  select
    format('column %I.%I', needed.relation, needed.attribute),
    'not null',
    'nullable, the layer leaves it empty'
  from needed
  inner join attributes
    on
      needed.relation = attributes.relation
      and needed.attribute = attributes.attname
  where
    needed.must_be_nullable
    and attributes.attnotnull
  union all
  select
    format('column %I.%I', attributes.relation, attributes.attname),
    'not null without a default',
    'nullable or with a default: the layer inserts participants and does not know this column'
  from attributes
  left join needed
    on
      attributes.relation = needed.relation
      and attributes.attname = needed.attribute
  where
    attributes.relation = 'quests_questparticipant'
    and attributes.attnotnull
    and not attributes.has_default
    and (needed.attribute is null or needed.attribute = 'id')
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
      inner join attributes
        on
          attributes.relation_id = tables.oid
          and attributes.attname = 'id'
      where
        key.conrelid = tables.oid
        and key.contype = 'p'
        and key.conkey = array[attributes.attnum]
    )
  union all
  select
    format('column %I.%I', attributes.relation, attributes.attname),
    attributes.type,
    'no column of this name: it is the layer''s own'
  from attributes
  where
    attributes.relation in ('quests_quest', 'applications_application', 'quests_questparticipant')
    and attributes.attname in ('integrity_assigned', 'integrity_approved', 'integrity_active');

  for relation, known in
    values
      ('quests_quest', array['open', 'in-progress', 'completed']),
      ('applications_application', array['pending', 'approved', 'rejected', 'kicked']),
      ('quests_questparticipant', array['joined', 'in_progress', 'completed', 'dropped'])
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

    -- A stray status is a violation; a table that uses none of the app's values has another meaning.
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
'Everything about the app''s tables in the given schema that the layer cannot work with. Empty when it fits.';

revoke all on function integrity.schema_mismatches(text) from public;
