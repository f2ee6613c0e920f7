create or replace function integrity.derive_quest(
  of_quest bigint,
  out before jsonb,
  out after jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  quest record;
  assignee uuid;
begin
  -- Serializes changes to the participants of one quest: the second transaction waits here until the first has ended.
  select
    status,
    assigned_to_id
  into quest
  from public.quests_quest
  where id = of_quest
  for no key update;

  if not found then
    return;
  end if;

  assignee := integrity.derive_locked_quest(of_quest, quest.status, quest.assigned_to_id);

  if
    assignee is distinct from quest.assigned_to_id
    or integrity.derived_status(quest.status, assignee) <> quest.status
  then
    before := jsonb_build_object('quest_status', quest.status, 'assigned_to_id', quest.assigned_to_id);
    after := jsonb_build_object(
      'quest_status', integrity.derived_status(quest.status, assignee), 'assigned_to_id', assignee
    );
  end if;
end
$$;

comment on function integrity.derive_quest(bigint) is
'Locks the quest, then derives its status and assignee from its active participants. Writes the quest only when they differ, and then returns them before and after; else returns NULLs.';

revoke all on function integrity.derive_quest(bigint) from public;
