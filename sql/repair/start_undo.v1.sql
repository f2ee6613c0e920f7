create or replace function integrity.start_undo(
  undone_run bigint,
  reason text
)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  new_run bigint;
begin
  if not exists (
    select
    from integrity.repair_run as run
    where run.id = undone_run
  ) then
    raise exception 'there is no repair run %', undone_run
      using
        errcode = 'no_data_found',
        hint = 'integrity.repair_run lists the runs.';
  end if;

  insert into integrity.repair_run (kind, actor, reason, options, undoes)
  values (
    'undo',
    coalesce(nullif(current_setting('integrity.actor', true), ''), session_user),
    start_undo.reason,
    '{}',
    undone_run
  )
  returning id
  into new_run;

  insert into integrity.repair_item (run, rule, key, quest_id)
  select
    new_run,
    'undo',
    'undo:run=' || undone_run || ':quest=' || change.quest_id,
    change.quest_id
  from integrity.repair_change as change
  where change.run = undone_run
  group by change.quest_id
  order by change.quest_id;

  return new_run;
end
$$;

comment on function integrity.start_undo(bigint, text) is
'Starts an undo of a run (a repair or an undo): adds the quests that it changed to a new run, and returns the id of that run. Refuses an unknown run.';

revoke all on function integrity.start_undo(bigint, text) from public;
