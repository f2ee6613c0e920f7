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

  -- An older snapshot would not show the rows of those that the change has waited for.
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'a status cannot be removed at %', upper(current_setting('transaction_isolation'))
      using
        errcode = 'object_not_in_prerequisite_state',
        hint = 'Use a transaction at READ COMMITTED.';
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

  -- Who had written it and not committed yet was not seen. From here on nobody can.
  holders := integrity.rows_with_status(from_relation, old_status);

  if holders > 0 then
    raise exception 'status % stays: % rows of % were given it meanwhile',
      quote_literal(old_status), holders, from_relation
      using
        errcode = 'dependent_objects_still_exist',
        hint = 'Give these rows another status first.';
  end if;
end
$$;

comment on function integrity.remove_status(text, text) is
'Takes an added status of the app out of the law, the rules and the manifest, for the owner of the tables; refused while a row has it. Looks again once its lock keeps writers away, and keeps it while it reads the table. Run quest-integrity validate afterwards, which quest-integrity statuses --remove does.';

revoke all on function integrity.remove_status(text, text) from public;
