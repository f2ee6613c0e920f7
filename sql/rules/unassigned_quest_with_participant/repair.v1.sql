create or replace function integrity.repair_unassigned_quest_with_participant(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform integrity.derive_locked_quests(
    array(
      select violation.quest_id
      from integrity.unassigned_quest_with_participant as violation
      where
        violation.quest_id = any(quests)
        and violation.key = any(keys)
    )
  );
end
$$;

comment on function integrity.repair_unassigned_quest_with_participant(bigint[], text[], jsonb) is
'Repair of unassigned_quest_with_participant: assigns the quest to its earliest active participant and derives its status.';

revoke all on function integrity.repair_unassigned_quest_with_participant(bigint[], text[], jsonb) from public;
