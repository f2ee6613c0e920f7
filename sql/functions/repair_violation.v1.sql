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

  insert into integrity.repair_item (run, rule, key, quest_id)
  select
    new_run,
    violation.rule,
    violation.key,
    violation.quest_id
  from integrity.violations as violation
  inner join integrity.repair_order as repair_order
    on violation.rule = repair_order.rule
  where
    violation.key = violation_key
    and violation.repair is not null;

  if not found then
    raise exception 'there is no violation % that has a repair', quote_literal(violation_key)
      using
        errcode = 'no_data_found',
        hint = 'integrity.violations lists them.';
  end if;

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
