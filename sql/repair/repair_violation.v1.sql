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
  undecided text;
begin
  new_run := integrity.start_repair(reason, options);

  perform integrity.plan_violation(new_run, violation_key);

  -- The last call finds nothing left to do and finishes the run.
  while integrity.repair_batch(new_run, 1) > 0 loop
  end loop;

  -- gone: the repairs before it have fixed it already.
  select
    case item.outcome when 'gone' then 'repaired' else item.outcome end,
    (
      select other.key
      from integrity.repair_item as other
      where
        other.run = new_run
        and other.outcome = 'undecided'
      order by other.number
      limit 1
    )
  into strict became, undecided
  from integrity.repair_item as item
  where
    item.run = new_run
    and item.key = violation_key;

  if became <> 'repaired' and undecided is not null then
    raise exception 'nothing says whether the participant of % was lost or has left', quote_literal(undecided)
      using
        errcode = 'invalid_parameter_value',
        hint = 'Say it: the options {"missing_participant": "create"} or {"missing_participant": "revoke"}.';
  end if;

  return became;
end
$$;

comment on function integrity.repair_violation(text, text, jsonb) is
'Repairs one violation, given by its key, in a run of its own that can be undone; before it those of its quest that come earlier in the order of repairs. Returns the outcome, repaired or refused. Options: see integrity.start_repair(); without the one that the violation needs, an error.';

revoke all on function integrity.repair_violation(text, text, jsonb) from public;
