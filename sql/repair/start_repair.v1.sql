create or replace function integrity.start_repair(
  reason text,
  options jsonb
)
returns bigint
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into integrity.repair_run (
    kind,
    actor,
    reason,
    options
  )
  values (
    'repair',
    coalesce(nullif(current_setting('integrity.actor', true), ''), session_user),
    start_repair.reason,
    start_repair.options
  )
  returning id
$$;

comment on function integrity.start_repair(text, jsonb) is
'Opens a repair run and returns its id. Options: missing_participant is create (the default) or revoke.';

revoke all on function integrity.start_repair(text, jsonb) from public;
