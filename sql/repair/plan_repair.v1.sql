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
set jit = off
-- Makes the planner use indexes for the few quests; at the default cost it would scan whole tables.
set random_page_cost = 1.1
as $$
declare
  planned bigint := 0;
  added bigint;
  known bigint[];
  checked record;
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

  for checked in
    with suspicion as (
      select
        everything.rule,
        everything.quests
      from integrity.suspects() as everything
      -- Else PostgreSQL does not call the function.
      where
        known is null
        and of_user is null
    )

    select
      repair_order.rule,
      repair_order.option is null as only_repairable,
      suspicion.rule is not null as is_covered,
      coalesce(known, suspicion.quests) as quests
    from integrity.repair_order as repair_order
    inner join integrity.rule as rule
      on repair_order.rule = rule.rule
    inner join integrity.repair_run as run
      on of_run = run.id
    left join suspicion
      on repair_order.rule = suspicion.rule
    where
      rule.severity <> 'off'
      and (repair_order.option is null or run.options ? repair_order.option)
      and (of_rules is null or repair_order.rule = any(of_rules))
    order by repair_order.position
  loop
    exit when planned >= at_most;
    continue when checked.is_covered and checked.quests is null;

    -- Not integrity.violations, which is the same, and not its other columns, which take longer than to find the rows.
    -- Not NOT EXISTS: PostgreSQL expects one violation, and would read all earlier items for each.
    execute 'insert into integrity.repair_item (run, rule, key, quest_id)
      select $1, fresh.rule, fresh.key, fresh.quest_id
      from (
        select found.rule, found.key, found.quest_id
        from integrity.' || quote_ident(checked.rule) || ' as found
        where found.quest_id is not null'
    || case when checked.only_repairable then ' and found.repair is not null' else '' end
    || case when checked.quests is not null then ' and found.quest_id = any($2)' else '' end
    || case when of_user is not null then ' and found.user_id = $3' else '' end
    || '
        except
        select earlier.rule, earlier.key, earlier.quest_id
        from integrity.repair_item as earlier
        where earlier.run = $1
      ) as fresh
      order by fresh.quest_id, fresh.key
      limit $4'
    using of_run, checked.quests, of_user, at_most - planned;
    get diagnostics added = row_count;

    planned := planned + added;
  end loop;

  return planned;
end
$$;

comment on function integrity.plan_repair(bigint, text[], uuid, bigint, bigint) is
'Adds the repairable violations to a repair run, in the order of repairs: those of some rules, one user or one quest (NULL for all), and at most at_most. Called again, it adds only new violations on the quests of the run. Returns how many it added.';

revoke all on function integrity.plan_repair(bigint, text[], uuid, bigint, bigint) from public;
