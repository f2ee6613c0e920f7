create or replace function integrity.settle_guards()
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- These settings change how PostgreSQL prints a definition.
set quote_all_identifiers = off
set intervalstyle = postgres
as $$
declare
  enforced text[];
  settled integer;
begin
  -- Read first: Citus writes no local table from what reads a reference table, as the guards do.
  enforced := array(
    select status.kind || ' ' || status.identity
    from integrity.guard_status as status
    where
      status.waiting
      and status.status = 'ok'
  );

  update integrity.guard as guard
  set waiting = false
  where
    guard.waiting
    and guard.kind || ' ' || guard.identity = any(enforced);
  get diagnostics settled = row_count;

  return settled;
end
$$;

comment on function integrity.settle_guards() is
'Clears waiting for the constraints that are enforced by now: from then on it is damage when one of them is not. Returns how many it cleared.';

revoke all on function integrity.settle_guards() from public;
