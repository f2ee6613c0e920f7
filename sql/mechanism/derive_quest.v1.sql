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
  -- Two transactions that change the participants of one quest meet here: the second reads when the first has ended.
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
'Locks a quest and derives its status and assignee from its active participants; writes it only when they differ, and returns them before and after when it did.';

revoke all on function integrity.derive_quest(bigint) from public;
