create or replace function integrity.operate(
  of_run bigint,
  batch_size integer
)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  run_kind text;
begin
  select run.kind
  into strict run_kind
  from integrity.repair_run as run
  where run.id = of_run;

  if run_kind = 'undo' then
    return integrity.undo_batch(of_run, batch_size);
  end if;

  return integrity.repair_batch(of_run, batch_size);
end
$$;

comment on function integrity.operate(bigint, integer) is
'Repairs or undoes the next batch of a run with the rights of the layer''s owner, for operators, who have no rights on the app''s rows. Returns how many items it handled, 0 when the run is finished.';

revoke all on function integrity.operate(bigint, integer) from public;
