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
'Starts a repair run and returns its id. Option missing_participant: create or revoke, see integrity.repair_approved_without_participant(). Without it, the violations in integrity.unvouched_approval are left undecided. Option unapproved: approve or drop, see integrity.repair_participant_without_approval(). Without it, that rule is not repaired.';

revoke all on function integrity.start_repair(text, jsonb) from public;
