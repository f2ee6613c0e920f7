create or replace function integrity.remove_status(
  from_relation text,
  old_status text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  before constant text[] := integrity.lock_statuses(from_relation);
  is_built_in boolean;
  holders bigint;
begin
  select known.built_in
  into is_built_in
  from integrity.status as known
  where
    known.relation = from_relation
    and known.status = old_status;

  if is_built_in is null then
    raise exception '% has no known status %', from_relation, coalesce(quote_literal(old_status), 'NULL')
      using
        errcode = 'undefined_object',
        hint = format('There are %s.', array_to_string(before, ', '));
  end if;

  if is_built_in then
    raise exception 'status % of % stays: the layer itself works with it', quote_literal(old_status), from_relation
      using
        errcode = 'object_not_in_prerequisite_state',
        hint = 'Only what was added can be removed.';
  end if;

  holders := integrity.rows_with_status(from_relation, old_status);

  if holders > 0 then
    raise exception 'status % stays: % rows of % have it', quote_literal(old_status), holders, from_relation
      using
        errcode = 'dependent_objects_still_exist',
        hint = 'Give these rows another status first.';
  end if;

  delete from integrity.status
  where
    relation = from_relation
    and status = old_status;

  delete from integrity.guard
  where
    kind = 'row'
    and identity = format('integrity.status where relation = %L and status = %L', from_relation, old_status);

  perform integrity.replace_statuses(from_relation, before);
end
$$;

comment on function integrity.remove_status(text, text) is
'Takes an added status of the app out of the law, the rules and the manifest, for the owner of the tables; refused while a row has it. A row written in the moment before shows as unknown_status, and keeps quest-integrity validate, to be run afterwards, from validating the CHECK; quest-integrity statuses --remove looks once more and puts the status back.';

revoke all on function integrity.remove_status(text, text) from public;
