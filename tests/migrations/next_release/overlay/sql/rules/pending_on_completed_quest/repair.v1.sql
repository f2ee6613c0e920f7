create or replace function integrity.repair_pending_on_completed_quest(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.applications_application as application
  set status = 'rejected'
  from integrity.pending_on_completed_quest as violation
  where
    violation.quest_id = any(quests)
    and violation.key = any(keys)
    and application.quest_id = violation.quest_id
    and application.id = violation.application_id;
end
$$;

comment on function integrity.repair_pending_on_completed_quest(bigint[], text[], jsonb) is
'Repair of pending_on_completed_quest: rejects the application.';

revoke all on function integrity.repair_pending_on_completed_quest(bigint[], text[], jsonb) from public;
