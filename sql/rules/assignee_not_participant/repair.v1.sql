create or replace function integrity.repair_assignee_not_participant(
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
  from integrity.assignee_not_participant as violation
  inner join lateral (
    select integrity.derived_assignee(violation.quest_id, null) as assignee
  ) as derived on true
  where
    violation.quest_id = any(repair_assignee_not_participant.quests)
    and violation.key = any(repair_assignee_not_participant.keys)
    and quest.id = violation.quest_id
$$;

comment on function integrity.repair_assignee_not_participant(bigint[], text[], jsonb) is
'Repair of assignee_not_participant: assigns the quest to its earliest active participant, or to nobody, and derives its status.';

revoke all on function integrity.repair_assignee_not_participant(bigint[], text[], jsonb) from public;
