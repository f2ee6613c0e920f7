create or replace function integrity.add_status(
  to_relation text,
  new_status text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  before constant text[] := integrity.lock_statuses(to_relation);
  entry constant text := format('integrity.status where relation = %L and status = %L', to_relation, new_status);
  longest integer;
begin
  if (new_status !~ '^\w([\w -]*\w)?$') is not false then
    raise exception '% is no status', coalesce(quote_literal(new_status), 'NULL')
      using
        errcode = 'invalid_parameter_value',
        hint = 'A status is made of letters, digits, underscores, and between them spaces and hyphens.';
  end if;

  if new_status = any(before) then
    raise exception 'status % of % is known already', quote_literal(new_status), to_relation
      using
        errcode = 'duplicate_object',
        hint = 'Run quest-integrity validate if its CHECK is not validated yet.';
  end if;

  select attribute.atttypmod - 4
  into longest
  from integrity.installation as installation
  inner join pg_attribute as attribute
    on
      attribute.attrelid = to_regclass(format('%I.%I', installation.app_schema, to_relation))
      and attribute.attname = 'status'
      and attribute.atttypmod > 0;

  if length(new_status) > longest then
    raise exception 'status % is too long for %, which holds % characters',
      quote_literal(new_status), to_relation, longest
      using
        errcode = 'invalid_parameter_value',
        hint = 'Migrate the app first if its new version has a longer column.';
  end if;

  insert into integrity.status (relation, status, position, built_in)
  select
    to_relation as relation,
    new_status as status,
    max(known.position) + 1 as position,
    false as built_in
  from integrity.status as known
  where known.relation = to_relation;

  insert into integrity.guard (kind, identity, expected, definition, position, waiting)
  select
    'row' as kind,
    entry as identity,
    to_jsonb(known) as expected,
    integrity.row_statement(entry, to_jsonb(known)) as definition,
    (
      select max(guard.position)
      from integrity.guard as guard
      where guard.identity like 'integrity.status where %'
    ) as position,
    false as waiting
  from integrity.status as known
  where
    known.relation = to_relation
    and known.status = new_status;

  perform integrity.replace_statuses(to_relation, before);
end
$$;

comment on function integrity.add_status(text, text) is
'Adds a status of the app to the law, the rules and the manifest, for the owner of the tables. An application with it is not approved, a participant with it is active, a quest with it is left alone. Run quest-integrity validate afterwards, which quest-integrity statuses --add does.';

revoke all on function integrity.add_status(text, text) from public;
