create or replace function integrity.undo_batch(
  of_run bigint,
  batch_size integer
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  item record;
  handled integer := 0;
  became text;
  why text;
  said text;
begin
  -- An operator has no rights on the app's rows: operate() works as the owner. Everybody else works with their own
  -- rights.
  if not has_table_privilege('integrity.repair_item', 'update') then
    return integrity.operate(of_run, batch_size);
  end if;

  for item in
    select
      pending.number,
      pending.quest_id
    from integrity.repair_item as pending
    where
      pending.run = of_run
      and pending.outcome is null
    order by pending.number
    limit batch_size
  loop
    begin
      select
        undone.outcome,
        undone.detail
      into strict became, why
      from integrity.undo_quest(of_run, item.quest_id) as undone;
    exception
      when integrity_constraint_violation then
        get stacked diagnostics
          why = constraint_name,
          said = message_text;
        why := integrity.violated_constraint(why, said);
        became := 'refused';
    end;

    update integrity.repair_item
    set
      outcome = became,
      detail = why
    where
      run = of_run
      and number = item.number;

    if became in ('undone', 'partly undone') then
      perform integrity.log_event(
        'undone', item.quest_id, null, null, null, null, jsonb_build_object('run', of_run, 'outcome', became)
      );
    end if;

    handled := handled + 1;
  end loop;

  if handled = 0 then
    update integrity.repair_run
    set finished_at = clock_timestamp()
    where id = of_run;
  end if;

  return handled;
end
$$;

comment on function integrity.undo_batch(bigint, integer) is
'Undoes the next quests of an undo run. Leaves a quest whose undo the law refuses, and records the constraint''s name. Returns how many quests it handled, 0 when the run is finished. Commit after each call.';

revoke all on function integrity.undo_batch(bigint, integer) from public;
