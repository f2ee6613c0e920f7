create or replace view integrity.unknown_status as
select
  'unknown_status'::text as rule,
  'error'::text as severity,
  stray.quest_id,
  stray.user_id,
  stray.application_id,
  stray.participant_id,
  format('%s has the unknown status %L', stray.subject, stray.status) as message,
  jsonb_build_object('status', stray.known) as expected,
  jsonb_build_object('status', stray.status) as found,
  null::text as repair,
  'unknown_status:' || replace(stray.subject, ' ', '=') as key
from (
  select
    application.quest_id,
    application.applicant_id as user_id,
    application.id as application_id,
    null::bigint as participant_id,
    'application ' || application.id as subject,
    application.status,
    jsonb_build_array('pending', 'approved', 'rejected', 'kicked') as known
  from public.applications_application as application
  where application.status::text not in ('pending', 'approved', 'rejected', 'kicked')
  union all
  select
    participant.quest_id,
    participant.user_id,
    null::bigint as application_id,
    participant.id as participant_id,
    'participant ' || participant.id as subject,
    participant.status,
    jsonb_build_array('joined', 'in_progress', 'completed', 'dropped') as known
  from public.quests_questparticipant as participant
  where participant.status::text not in ('joined', 'in_progress', 'completed', 'dropped')
  union all
  select
    quest.id as quest_id,
    quest.assigned_to_id as user_id,
    null::bigint as application_id,
    null::bigint as participant_id,
    'quest ' || quest.id as subject,
    quest.status,
    jsonb_build_array('open', 'in-progress', 'completed') as known
  from public.quests_quest as quest
  where quest.status::text not in ('open', 'in-progress', 'completed')
) as stray;

comment on view integrity.unknown_status is
'Error. Applications, participants and quests with a status that is none of the app''s values. Not repaired: a person decides what was meant.';

revoke all on integrity.unknown_status from public;
