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
begin
  insert into integrity.repair_item (run, rule, key, quest_id)
  select
    of_run,
    violation.rule,
    violation.key,
    violation.quest_id
  from (
    -- PostgreSQL executes the one that is asked for.
    select everything.*
    from integrity.audit() as everything
    where
      of_user is null
      and of_quest is null
    union all
    select one.*
    from integrity.violations as one
    where
      (of_user is not null or of_quest is not null)
      and (of_user is null or one.user_id = of_user)
      and (of_quest is null or one.quest_id = of_quest)
  ) as violation
  inner join integrity.repair_order as repair_order
    on violation.rule = repair_order.rule
  where
    violation.repair is not null
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
'Lists the repairable violations of a run, optionally of some rules, one user or one quest, at most so many. Called again, it adds only what is new. Returns how many it listed.';

revoke all on function integrity.plan_repair(bigint, text[], uuid, bigint, bigint) from public;
