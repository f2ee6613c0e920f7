create or replace function integrity.plan_repair(
  of_run bigint,
  of_rules text[],
  of_user uuid,
  of_quest bigint,
  at_most bigint
)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  planned bigint;
  known bigint[];
begin
  -- A rule reads one quest only, so a repair can cause new violations only on the quests of its run.
  if of_quest is not null then
    known := array[of_quest];
  else
    select array_agg(distinct item.quest_id)
    into known
    from integrity.repair_item as item
    where item.run = of_run;
  end if;

  insert into integrity.repair_item (run, rule, key, quest_id)
  select
    of_run,
    violation.rule,
    violation.key,
    violation.quest_id
  from (
    -- PostgreSQL executes only one of the two.
    select everything.*
    from integrity.audit() as everything
    where
      known is null
      and of_user is null
    union all
    select near.*
    from integrity.violations as near
    where
      (known is not null or of_user is not null)
      and (known is null or near.quest_id = any(known))
      and (of_user is null or near.user_id = of_user)
  ) as violation
  inner join integrity.repair_order as repair_order
    on violation.rule = repair_order.rule
  inner join integrity.repair_run as run
    on of_run = run.id
  where
    case
      when repair_order.option is null then violation.repair is not null
      else run.options ? repair_order.option
    end
    and violation.quest_id is not null
    and (of_rules is null or violation.rule = any(of_rules))
    and not exists (
      select
      from integrity.repair_item as earlier
      where
        earlier.run = of_run
        and earlier.key = violation.key
    )
  order by
    repair_order.position,
    violation.quest_id,
    violation.key
  limit at_most;
  get diagnostics planned = row_count;

  return planned;
end
$$;

comment on function integrity.plan_repair(bigint, text[], uuid, bigint, bigint) is
'Adds the repairable violations to a repair run, in the order of repairs: those of some rules, one user or one quest (NULL for all), and at most at_most. Called again, it adds only new violations on the quests of the run. Returns how many it added.';

revoke all on function integrity.plan_repair(bigint, text[], uuid, bigint, bigint) from public;
