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
  ended constant jsonb := (
    select
      jsonb_agg(
        jsonb_build_object(
          'quest_id', application.quest_id,
          'user_id', application.applicant_id,
          'application_id', application.id,
          'before', jsonb_build_object('application_status', 'approved'),
          'after', jsonb_build_object('application_status', 'rejected')
        )
        order by application.id
      )
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
      and application.id <> violation.application_id
  );
begin
  -- The participant has the approval that stays, so the triggers would only log each of the others.
  if integrity.pause_mechanism(true) then
    perform integrity.log_events('application_ended', ended);
  end if;

  update public.applications_application as application
  set status = 'rejected'
  from jsonb_to_recordset(ended) as listed (quest_id bigint, application_id bigint)
  where
    application.quest_id = listed.quest_id
    and application.id = listed.application_id;

  perform integrity.pause_mechanism(false);
end
$$;

comment on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) is
'Repair of duplicate_approval: keeps the approved application with the lowest id and sets the others to rejected.';

revoke all on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) from public;
