create or replace function integrity.plan_violation(
  of_run bigint,
  violation_key text
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A violation can follow from one that is repaired before it.
  with subject as (
    select
      violation.quest_id,
      repair_order.position
    from integrity.violations as violation
    inner join integrity.repair_order as repair_order
      on violation.rule = repair_order.rule
    where
      violation.key = violation_key
      and (
        violation.repair is not null
        or repair_order.option is not null
      )
  )

  insert into integrity.repair_item (run, rule, key, quest_id)
  select
    of_run,
    violation.rule,
    violation.key,
    violation.quest_id
  from subject
  inner join integrity.violations as violation
    on subject.quest_id = violation.quest_id
  inner join integrity.repair_order as repair_order
    on violation.rule = repair_order.rule
  inner join integrity.repair_run as run
    on of_run = run.id
  where
    (
      repair_order.position < subject.position
      or violation.key = violation_key
    )
    and case
      when repair_order.option is null then violation.repair is not null
      else run.options ? repair_order.option
    end
  order by
    repair_order.position,
    violation.key;

  if not found then
    raise exception 'there is no violation % that has a repair', quote_literal(violation_key)
      using
        errcode = 'no_data_found',
        hint = 'integrity.violations lists the keys.';
  end if;
end
$$;

comment on function integrity.plan_violation(bigint, text) is
'Adds one violation, given by its key, to a repair run, and before it the violations of its quest that come earlier in the order of repairs. Refuses a key without a violation or without a repair.';

revoke all on function integrity.plan_violation(bigint, text) from public;
