create or replace function integrity.repair_batch(
  of_run bigint,
  batch_size integer
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  run_options jsonb;
  batch_rule text;
  numbers bigint[];
  quests bigint[];
  live text[];
  repaired text[];
  violations jsonb;
  old_quests bigint[];
  old_relations text[];
  old_keys jsonb[];
  old_contents jsonb[];
  refused_by text;
  said text;
  mechanism text;
begin
  -- An operator has no rights on the app's rows: operate() works as the owner. Everybody else works with their own
  -- rights.
  if not has_table_privilege('integrity.repair_item', 'update') then
    return integrity.operate(of_run, batch_size);
  end if;

  with pending as (
    select
      item.number,
      item.rule,
      item.quest_id
    from integrity.repair_item as item
    where
      item.run = of_run
      and item.outcome is null
    order by item.number
    limit batch_size
  )

  select
    array_agg(pending.number),
    array_agg(distinct pending.quest_id),
    min(pending.rule)
  into numbers, quests, batch_rule
  from pending
  where
    pending.rule = (
      select first_one.rule
      from pending as first_one
      order by first_one.number
      limit 1
    );

  if batch_rule is null then
    update integrity.repair_run
    set finished_at = clock_timestamp()
    where id = of_run;
    return 0;
  end if;

  select run.options
  into strict run_options
  from integrity.repair_run as run
  where run.id = of_run;

  perform integrity.lock_quests(quests);

  -- Violations that others have repaired or removed since the plan are not in the view any more.
  execute format(
    'select coalesce(array_agg(violation.key), array[]::text[]), jsonb_agg(to_jsonb(violation))
    from (
      select violation.key, quest_id, user_id, application_id, participant_id, found as before
      from integrity.%I as violation
      where violation.quest_id = any($1)
      and violation.key in (
        select item.key from integrity.repair_item as item where item.run = $2 and item.number = any($3)
      )
    ) as violation',
    batch_rule
  )
  into live, violations
  using quests, of_run, numbers;

  select
    array_agg(quest_row.quest_id),
    array_agg(quest_row.relation),
    array_agg(quest_row.row_key),
    array_agg(quest_row.content)
  into old_quests, old_relations, old_keys, old_contents
  from integrity.quest_rows(quests) as quest_row;

  begin
    -- A repair is written for the triggers to finish, whatever the session has set for its own writes.
    mechanism := coalesce(current_setting('integrity.mechanism', true), '');
    perform set_config('integrity.mechanism', 'on', true);

    execute format('select integrity.%I($1, $2, $3)', 'repair_' || batch_rule)
    using quests, live, run_options;

    perform set_config('integrity.mechanism', mechanism, true);

    -- Check the deferred constraints now: a violation at COMMIT would roll back the whole batch.
    perform integrity.check_law(quests);
  exception
    when integrity_constraint_violation then
      get stacked diagnostics
        refused_by = constraint_name,
        said = message_text;
      refused_by := integrity.violated_constraint(refused_by, said);
  end;

  if refused_by is not null and cardinality(numbers) > 1 then
    -- Repair one by one, so that only the violations that the law refuses are left.
    for each_one in 1..cardinality(numbers) loop
      perform integrity.repair_batch(of_run, 1);
    end loop;
    return cardinality(numbers);
  end if;

  perform integrity.record_changes(of_run, batch_rule, quests, old_quests, old_relations, old_keys, old_contents);

  execute format(
    'update integrity.repair_item as item
    set outcome = case
      when item.key <> all($3) then ''gone''
      when item.key not in (
        select violation.key from integrity.%I as violation where violation.quest_id = any($4)
      ) then ''repaired''
      when $6 is null and item.key in (
        select unvouched.key from integrity.unvouched_approval as unvouched where unvouched.quest_id = any($4)
      ) then ''undecided''
      else ''refused''
    end,
    detail = $5
    where item.run = $1 and item.number = any($2)',
    batch_rule
  )
  using of_run, numbers, live, quests, refused_by, run_options ->> 'missing_participant';

  select array_agg(item.key order by item.number)
  into repaired
  from integrity.repair_item as item
  where
    item.run = of_run
    and item.number = any(numbers)
    and item.outcome = 'repaired';

  perform integrity.log_events(
    'repaired',
    (
      select
        jsonb_agg(
          violation || jsonb_build_object('after', jsonb_build_object('run', of_run, 'key', item.key))
          order by item.place
        )
      from jsonb_array_elements(violations) as violation
      inner join unnest(repaired) with ordinality as item (key, place)
        on violation ->> 'key' = item.key
    )
  );

  return cardinality(numbers);
end
$$;

comment on function integrity.repair_batch(bigint, integer) is
'Repairs the next violations of a run, all of one rule: locks their quests, calls the repair function of the rule, and records every changed row and an event per repaired violation. Leaves a violation whose repair the law refuses, and records the constraint''s name; leaves one that a person has to decide on as undecided, see integrity.start_repair(). Returns how many violations it handled, 0 when the run is finished. Commit after each call.';

revoke all on function integrity.repair_batch(bigint, integer) from public;
