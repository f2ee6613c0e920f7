create or replace view integrity.approved_without_participant as
select
  'approved_without_participant'::text as rule,
  'error'::text as severity,
  application.quest_id,
  application.applicant_id as user_id,
  application.id as application_id,
  dropped.id as participant_id,
  format(
    'application %s is approved, but user %s %s quest %s',
    application.id,
    application.applicant_id,
    case when dropped.id is null then 'has no participant on' else 'was dropped from' end,
    application.quest_id
  ) as message,
  jsonb_build_object('participant_status', 'joined') as expected,
  jsonb_build_object('participant_status', dropped.status) as found,
  case when dropped.id is null then 'create_participant' else 'end_application' end as repair,
  'approved_without_participant:application=' || application.id as key
from public.applications_application as application
left join lateral (
  select
    participant.id,
    participant.status
  from public.quests_questparticipant as participant
  where
    participant.quest_id = application.quest_id
    and participant.user_id = application.applicant_id
    and participant.status = 'dropped'
  order by participant.id
  limit 1
) as dropped on true
where
  application.status = 'approved'
  and not exists (
    select
    from public.quests_questparticipant as participant
    where
      participant.quest_id = application.quest_id
      and participant.user_id = application.applicant_id
      and participant.status <> 'dropped'
  );

comment on view integrity.approved_without_participant is
'Error. Approved applications whose applicant is not an active participant of the quest: the participant is missing or dropped.';

revoke all on integrity.approved_without_participant from public;
