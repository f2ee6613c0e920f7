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

  -- The last call finds nothing left to do and finishes the run.
  while integrity.repair_batch(new_run, 1) > 0 loop
  end loop;

  -- gone: the repairs before it have fixed it already.
  select case item.outcome when 'gone' then 'repaired' else item.outcome end
  into strict became
  from integrity.repair_item as item
  where
    item.run = new_run
    and item.key = violation_key;

  return became;
end
$$;

comment on function integrity.repair_violation(text, text, jsonb) is
'Repairs one violation, given by its key, in a run of its own that can be undone; before it those of its quest that come earlier in the order of repairs. Returns the outcome, repaired or refused. Options: see integrity.start_repair().';

revoke all on function integrity.repair_violation(text, text, jsonb) from public;
