create or replace function integrity.repair_violation(
  violation_key text,
  reason text,
  options jsonb default '{}'
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  new_run bigint;
  became text;
begin
  new_run := integrity.start_repair(reason, options);

  perform integrity.plan_violation(new_run, violation_key);

  -- The second call finds nothing left to do and ends the run.
  perform integrity.repair_batch(new_run, 1);
  perform integrity.repair_batch(new_run, 1);

  select item.outcome
  into strict became
  from integrity.repair_item as item
  where item.run = new_run;

  return became;
end
$$;

comment on function integrity.repair_violation(text, text, jsonb) is
'Repairs one violation, given by its key, as a run of its own that can be undone. Returns what became of it: repaired, or refused by the law. Options as for integrity.start_repair.';

revoke all on function integrity.repair_violation(text, text, jsonb) from public;
