create or replace function integrity.record_audit()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  new_run bigint;
  run_started timestamptz;
begin
  -- One audit at a time: each is compared with the one before.
  lock table integrity.audit_run in share row exclusive mode;

  insert into integrity.audit_run (actor)
  values (coalesce(nullif(current_setting('integrity.actor', true), ''), session_user))
  returning
    id,
    started_at
  into new_run, run_started;

  -- One call of audit(), so that counts and keys agree.
  with found as materialized (
    select
      violation.rule,
      violation.quest_id,
      violation.user_id,
      violation.key
    from integrity.audit() as violation
  ),

  -- Not an anti-join: the planner cannot estimate how many were found and would choose a nested loop, too slow for a
  -- million.
  missing as (
    select known.key
    from integrity.audit_violation as known
    where known.gone_run is null
    except
    select found.key
    from found
  ),

  gone as (
    update integrity.audit_violation as known
    set
      gone_run = new_run,
      gone_at = run_started
    from missing
    where
      known.key = missing.key
      and known.gone_run is null
  ),

  appeared as (
    insert into integrity.audit_violation (rule, key, quest_id, user_id, first_run, first_seen)
    select
      found.rule,
      found.key,
      found.quest_id,
      found.user_id,
      new_run as first_run,
      run_started as first_seen
    from found
    on conflict (key) where gone_run is null do nothing
  )

  insert into integrity.audit_count (run, rule, severity, violations, quests, users)
  select
    new_run as run,
    rule.rule,
    rule.severity,
    count(found.key) as violations,
    count(distinct found.quest_id) as quests,
    count(distinct found.user_id) as users
  from integrity.rule as rule
  left join found
    on rule.rule = found.rule
  where rule.severity <> 'off'
  group by
    rule.rule,
    rule.severity;

  update integrity.audit_run as run
  set
    damage = array(
      select format('%s %s: %s', guard.kind, guard.identity, guard.status)
      from integrity.guard_status as guard
      where guard.damage
      order by guard.position
    ) || array(
      select format('%s %s: %s', node.kind, node.identity, node.status)
      from integrity.node_damage() as node
    ),
    duration = clock_timestamp() - run.started_at
  where run.id = new_run;

  return new_run;
end
$$;

comment on function integrity.record_audit() is
'Audits the whole database and records the result: counts per rule, the keys of all violations and the damage that the guards report. Records each violation once, with the first run that found it and the first run that no longer did. Returns the id of the run.';

revoke all on function integrity.record_audit() from public;
