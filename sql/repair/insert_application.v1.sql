create or replace function integrity.insert_application(
  for_quest bigint,
  for_user uuid
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  content jsonb := jsonb_build_object('quest_id', for_quest, 'applicant_id', for_user, 'status', 'approved');
  relation constant regclass := (
    select to_regclass(format('%I.applications_application', installation.app_schema))
    from integrity.installation as installation
  );
begin
  -- The app has a value for every column; what the layer does not know is left empty.
  select
    content || coalesce(
      jsonb_object_agg(
        attribute.attname,
        case
          when kind.typcategory = 'D' then to_jsonb(now())
          when kind.typcategory = 'S' then '""'
          when kind.typcategory = 'B' then 'false'
          when kind.typcategory = 'N' then '0'
          when attribute.atttypid in ('json'::regtype, 'jsonb'::regtype) then '{}'
        end
      ),
      '{}'
    )
  into content
  from pg_attribute as attribute
  inner join pg_type as kind
    on attribute.atttypid = kind.oid
  where
    attribute.attrelid = relation
    and attribute.attnum > 0
    and not attribute.attisdropped
    and attribute.attnotnull
    and not attribute.atthasdef
    and attribute.attidentity = ''
    and attribute.attname not in ('quest_id', 'applicant_id', 'status')
    -- A reference cannot be left empty: the INSERT is refused.
    and not exists (
      select
      from pg_constraint as reference
      where
        reference.conrelid = relation
        and reference.contype = 'f'
        and attribute.attnum = any(reference.conkey)
    );

  -- Not INSERT … SELECT, which Citus turns into a COPY, whose errors have no SQLSTATE.
  execute (
    select
      format(
        'insert into %s (%s) values (%s)',
        relation,
        string_agg(quote_ident(name), ', '),
        string_agg(format('(jsonb_populate_record(null::%s, $1)).%I', relation, name), ', ')
      )
    from jsonb_object_keys(content) as name
  )
  using content;
end
$$;

comment on function integrity.insert_application(bigint, uuid) is
'Inserts an approved application of a user to a quest. A column of the app that is NOT NULL without a default becomes empty: '''', 0, false, {} or the current time. For integrity.repair_participant_without_approval().';

revoke all on function integrity.insert_application(bigint, uuid) from public;
