create or replace function integrity.repair_assignee_not_participant(
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
      from integrity.assignee_not_participant as violation
      where
        violation.quest_id = any(quests)
        and violation.key = any(keys)
    )
  );
end
$$;

comment on function integrity.repair_assignee_not_participant(bigint[], text[], jsonb) is
'Repair of assignee_not_participant: assigns the quest to its earliest active participant, or to nobody, and derives its status.';

revoke all on function integrity.repair_assignee_not_participant(bigint[], text[], jsonb) from public;
