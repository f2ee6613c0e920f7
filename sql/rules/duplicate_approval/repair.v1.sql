create or replace function integrity.repair_duplicate_approval(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  of_quests bigint[];
  ended bigint[];
begin
  select
    array_agg(application.quest_id),
    array_agg(application.id)
  into of_quests, ended
  from integrity.duplicate_approval as violation
  inner join public.applications_application as application
    on
      violation.quest_id = application.quest_id
      and violation.user_id = application.applicant_id
  where
    violation.quest_id = any(quests)
    and violation.key = any(keys)
    and application.status = 'approved'
    -- violation.application_id is the earliest.
    and application.id <> violation.application_id;

  perform integrity.end_applications(of_quests, ended, 'rejected');
end
$$;

comment on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) is
'Repair of duplicate_approval: keeps the approved application with the lowest id and sets the others to rejected.';

revoke all on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) from public;
