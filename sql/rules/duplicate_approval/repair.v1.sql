create or replace function integrity.repair_duplicate_approval(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  with ranked as (
    select
      application.id,
      row_number() over (
        partition by application.quest_id, application.applicant_id
        order by
          exists (
            select
            from public.quests_questparticipant as participant
            where
              participant.quest_id = application.quest_id
              and participant.user_id = application.applicant_id
              and participant.application_id = application.id
          ) desc,
          application.applied_at asc,
          application.id asc
      ) as place
    from integrity.duplicate_approval as violation
    inner join public.applications_application as application
      on
        violation.quest_id = application.quest_id
        and violation.user_id = application.applicant_id
        and application.status = 'approved'
    where
      violation.quest_id = any(repair_duplicate_approval.quests)
      and violation.key = any(repair_duplicate_approval.keys)
  )

  update public.applications_application as application
  set status = 'rejected'
  from ranked
  where
    application.id = ranked.id
    and ranked.place > 1
$$;

comment on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) is
'Repair of duplicate_approval: the approval that the participant is linked to stays, else the earliest; the others become rejected.';

revoke all on function integrity.repair_duplicate_approval(bigint[], text[], jsonb) from public;
