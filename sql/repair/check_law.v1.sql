create or replace function integrity.check_law(quests bigint[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  set constraints all immediate;
  set constraints all deferred;
end
$$;

comment on function integrity.check_law(bigint[]) is
'Checks the deferred constraints now instead of at COMMIT. quests: those that were changed, as on Citus the nodes of these have to be asked.';

revoke all on function integrity.check_law(bigint[]) from public;
