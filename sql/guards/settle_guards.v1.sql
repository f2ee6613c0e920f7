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
  settled integer;
begin
  update integrity.guard as guard
  set waiting = false
  from integrity.guard_status as status
  where
    guard.waiting
    and status.kind = guard.kind
    and status.identity = guard.identity
    and status.status = 'ok';
  get diagnostics settled = row_count;

  return settled;
end
$$;

comment on function integrity.settle_guards() is
'Clears waiting for the constraints that are enforced by now: from then on it is damage when one of them is not. Returns how many it cleared.';

revoke all on function integrity.settle_guards() from public;
