create or replace function integrity.undo_quest(
  of_run bigint,
  of_quest bigint,
  out outcome text,
  out detail text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  undone_run bigint;
  old_quests bigint[];
  old_relations text[];
  old_keys jsonb[];
  old_contents jsonb[];
  effect record;
  restored integer := 0;
  mechanism constant text not null := coalesce(current_setting('integrity.mechanism', true), '');
begin
  -- Rows are restored for the triggers to finish, whatever the session has set for its own writes.
  perform set_config('integrity.mechanism', 'on', true);

  select run.undoes
  into strict undone_run
  from integrity.repair_run as run
  where run.id = of_run;

  perform
  from public.quests_quest as quest
  where quest.id = of_quest
  for update;

  select
    array_agg(quest_row.quest_id),
    array_agg(quest_row.relation),
    array_agg(quest_row.row_key),
    array_agg(quest_row.content)
  into old_quests, old_relations, old_keys, old_contents
  from integrity.quest_rows(array[of_quest]) as quest_row;

  for effect in
    select
      recorded.relation,
      recorded.row_key,
      recorded.before,
      recorded.after
    from integrity.repair_effect as recorded
    left join unnest(old_relations, old_keys, old_contents) as present (relation, row_key, content)
      on
        recorded.relation = present.relation
        and recorded.row_key = present.row_key
    where
      recorded.run = undone_run
      and recorded.quest_id = of_quest
      and present.content is not distinct from recorded.after
    order by
      -- Referenced rows first; the quest last, since the mechanism derives it from the others.
      case
        when to_regclass(recorded.relation) = 'public.quests_quest'::regclass then 4
        when recorded.after is null then 1
        when recorded.before is not null then 2
        else 3
      end,
      recorded.number desc
  loop
    perform integrity.restore_row(effect.relation, effect.row_key, effect.before, effect.after);
    restored := restored + 1;
  end loop;

  -- Without an application that the run had inserted, the mechanism drops a participant whom the run had left alone.
  for effect in
    select
      present.relation,
      present.row_key,
      present.content as before,
      dropped.content as after
    from unnest(old_relations, old_keys, old_contents) as present (relation, row_key, content)
    inner join integrity.quest_rows(array[of_quest]) as dropped
      on
        present.relation = dropped.relation
        and present.row_key = dropped.row_key
    left join integrity.repair_effect as recorded
      on
        recorded.run = undone_run
        and recorded.quest_id = of_quest
        and present.relation = recorded.relation
        and present.row_key = recorded.row_key
    where
      recorded.run is null
      and present.content <> dropped.content
      and to_regclass(present.relation) = 'public.quests_questparticipant'::regclass
      and dropped.content ->> 'status' = 'dropped'
  loop
    perform integrity.restore_row(effect.relation, effect.row_key, effect.before, effect.after);
  end loop;

  perform set_config('integrity.mechanism', mechanism, true);

  -- Check the deferred constraints now: a violation at COMMIT would roll back the undo of other quests.
  perform integrity.check_law(array[of_quest]);

  perform integrity.record_changes(of_run, 'undo', array[of_quest], old_quests, old_relations, old_keys, old_contents);

  with wanted as (
    select
      recorded.relation,
      recorded.row_key,
      recorded.before as content
    from integrity.repair_effect as recorded
    where
      recorded.run = undone_run
      and recorded.quest_id = of_quest
    union all
    select
      present.relation,
      present.row_key,
      present.content
    from unnest(old_relations, old_keys, old_contents) as present (relation, row_key, content)
    where
      not exists (
        select
        from integrity.repair_effect as recorded
        where
          recorded.run = undone_run
          and recorded.quest_id = of_quest
          and recorded.relation = present.relation
          and recorded.row_key = present.row_key
      )
  )

  select
    string_agg(
      format('%s %s', coalesce(wanted.relation, present.relation), coalesce(wanted.row_key, present.row_key)),
      ', '
      order by
        coalesce(wanted.relation, present.relation),
        coalesce(wanted.row_key, present.row_key)
    )
  into detail
  from wanted
  full join integrity.quest_rows(array[of_quest]) as present
    on
      wanted.relation = present.relation
      and wanted.row_key = present.row_key
  where wanted.content is distinct from present.content;

  outcome := case
    when detail is null then 'undone'
    when restored = 0 then 'changed since'
    else 'partly undone'
  end;
end
$$;

comment on function integrity.undo_quest(bigint, bigint) is
'Locks one quest, then restores its rows that the undone run changed and nobody has changed since. outcome: undone; partly undone, when some rows were changed since or the mechanism does not allow their old state; changed since, when it restored none. detail: the rows that are not as they were before the run.';

revoke all on function integrity.undo_quest(bigint, bigint) from public;
