create or replace function integrity.repair_duplicate_approval(
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
  from integrity.duplicate_approval as violation
  where
    violation.quest_id = any(quests)
    and violation.key = any(keys)
    and application.quest_id = violation.quest_id
    and application.applicant_id = violation.user_id
    and application.status = 'approved'
    -- violation.application_id is the earliest.
    and application.id <> violation.application_id;
end
$$;

comment on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) is
'Repair of duplicate_approval: keeps the approved application with the lowest id and sets the others to rejected.';

revoke all on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) from public;
