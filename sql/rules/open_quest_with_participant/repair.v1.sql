create or replace function integrity.repair_open_quest_with_participant(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update public.quests_quest as quest
  set
    status = integrity.derived_status(quest.status, derived.assignee),
    assigned_to_id = derived.assignee
  from integrity.open_quest_with_participant as violation
  inner join lateral (
    select integrity.derived_assignee(assigned.id, assigned.assigned_to_id) as assignee
    from public.quests_quest as assigned
    where assigned.id = violation.quest_id
  ) as derived on true
  where
    violation.quest_id = any(repair_open_quest_with_participant.quests)
    and violation.key = any(repair_open_quest_with_participant.keys)
    and quest.id = violation.quest_id
$$;

comment on function integrity.repair_open_quest_with_participant(bigint[], text[], jsonb) is
'Repair of open_quest_with_participant: derives status and assignee of the quest from its active participants.';

revoke all on function integrity.repair_open_quest_with_participant(bigint[], text[], jsonb) from public;
