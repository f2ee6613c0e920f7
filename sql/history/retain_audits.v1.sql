create or replace function integrity.retain_audits(keep interval)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  oldest_kept constant timestamptz := now() - keep;
  dropped bigint;
begin
  if oldest_kept is null or oldest_kept > now() then
    raise exception 'cannot keep audits for %', coalesce(keep::text, 'NULL')
      using
        errcode = 'invalid_parameter_value',
        hint = 'Pass an age such as interval ''12 months''; the last audit is always kept.';
  end if;

  lock table integrity.audit_run in share row exclusive mode;

  delete from integrity.audit_run as run
  where
    run.started_at < oldest_kept
    and run.id < (select max(latest.id) from integrity.audit_run as latest);

  get diagnostics dropped = row_count;

  -- A violation that was fixed by the oldest kept run is in no kept run.
  delete from integrity.audit_violation as known
  where known.gone_run <= (select min(run.id) from integrity.audit_run as run);

  return dropped;
end
$$;

comment on function integrity.retain_audits(interval) is
'Deletes the recorded audits older than the given age, but never the last one, and the violations that no kept audit found. Returns how many audits it deleted. Refuses a NULL or negative age.';

revoke all on function integrity.retain_audits(interval) from public;
