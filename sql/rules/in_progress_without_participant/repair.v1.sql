create or replace function integrity.repair_in_progress_without_participant(
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
      from integrity.in_progress_without_participant as violation
      where
        violation.quest_id = any(quests)
        and violation.key = any(keys)
    )
  );
end
$$;

comment on function integrity.repair_in_progress_without_participant(bigint[], text[], jsonb) is
'Repair of in_progress_without_participant: sets the quest to open and assigns it to nobody.';

revoke all on function integrity.repair_in_progress_without_participant(bigint[], text[], jsonb) from public;
