create or replace view integrity.participant_without_approval as
select
  'participant_without_approval'::text as rule,
  'warning'::text as severity,
  participant.quest_id,
  participant.user_id,
  null::bigint as application_id,
  participant.id as participant_id,
  format(
    'user %s takes part in quest %s without an approved application',
    participant.user_id,
    participant.quest_id
  ) as message,
  jsonb_build_object('application_status', 'approved') as expected,
  jsonb_build_object('application_status', null, 'participant_status', participant.status) as found,
  null::text as repair,
  'participant_without_approval:participant=' || participant.id as key
from public.quests_questparticipant as participant
where
  participant.status <> 'dropped'
  and not exists (
    select
    from public.applications_application as application
    where
      application.quest_id = participant.quest_id
      and application.applicant_id = participant.user_id
      and application.status = 'approved'
  );

comment on view integrity.participant_without_approval is
'Warning. Active participants without an approved application. Repaired on request only: a user may join directly, so a person decides.';

revoke all on integrity.participant_without_approval from public;
