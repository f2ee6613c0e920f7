create or replace function integrity.pause_mechanism(paused boolean)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The setting does not reach the nodes of Citus, whose triggers do their work.
  if integrity.is_distributed() then
    return false;
  end if;

  perform set_config('integrity.mechanism', case when paused then 'off' else 'on' end, true);
  -- The caller leaves nothing out, so there is nothing to log as mechanism_off.
  perform set_config('integrity.mechanism_off_in', case when paused then pg_current_xact_id()::text else '' end, true);

  return paused;
end
$$;

comment on function integrity.pause_mechanism(boolean) is
'Switches the mechanism off in this transaction, or on again, for a caller that does for many rows at once what the triggers do for each. Returns whether it is off, as on Citus it stays on.';

revoke all on function integrity.pause_mechanism(boolean) from public;
