create or replace function integrity.undo_quest(
  of_run bigint,
  of_quest bigint
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  undone_run bigint;
  rows_before jsonb;
  change record;
  restored integer := 0;
  kept integer := 0;
begin
  select run.undoes
  into strict undone_run
  from integrity.repair_run as run
  where run.id = of_run;

  perform
  from public.quests_quest as quest
  where quest.id = of_quest
  for update;

  select coalesce(jsonb_agg(to_jsonb(quest_row)), '[]')
  into rows_before
  from integrity.quest_rows(array[of_quest]) as quest_row;

  for change in
    select
      recorded.relation,
      recorded.row_key,
      recorded.before,
      recorded.after,
      (present.content is not distinct from recorded.after) as untouched
    from integrity.repair_change as recorded
    left join jsonb_to_recordset(rows_before) as present (relation text, row_key jsonb, content jsonb)
      on
        recorded.relation = present.relation
        and recorded.row_key = present.row_key
    where
      recorded.run = undone_run
      and recorded.quest_id = of_quest
    order by recorded.number desc
  loop
    if change.untouched then
      perform integrity.restore_row(change.relation, change.row_key, change.before, change.after);
      restored := restored + 1;
    else
      kept := kept + 1;
    end if;
  end loop;

  -- The law speaks here and not at COMMIT, where it would take other quests' undo with it.
  set constraints all immediate;
  set constraints all deferred;

  perform integrity.record_changes(of_run, 'undo', array[of_quest], rows_before);

  if restored = 0 then
    return 'changed since';
  end if;

  if kept > 0 or exists (
    select
    from integrity.repair_change as recorded
    left join integrity.quest_rows(array[of_quest]) as present
      on
        recorded.relation = present.relation
        and recorded.row_key = present.row_key
    where
      recorded.run = undone_run
      and recorded.quest_id = of_quest
      and present.content is distinct from recorded.before
  ) then
    return 'partly undone';
  end if;

  return 'undone';
end
$$;

comment on function integrity.undo_quest(bigint, bigint) is
'Restores the rows of one quest that the undone run changed and nobody has changed since. Returns undone, partly undone (some were changed since, or the law allows no return to them) or changed since.';

revoke all on function integrity.undo_quest(bigint, bigint) from public;
