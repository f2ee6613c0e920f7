create or replace function integrity.repair_open_quest_with_approval(
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
      from integrity.open_quest_with_approval as violation
      where
        violation.quest_id = any(quests)
        and violation.key = any(keys)
    )
  );
end
$$;

comment on function integrity.repair_open_quest_with_approval(bigint[], text[], jsonb) is
'Repair of open_quest_with_approval: derives status and assignee of the quest from its active participants.';

revoke all on function integrity.repair_open_quest_with_approval(bigint[], text[], jsonb) from public;
