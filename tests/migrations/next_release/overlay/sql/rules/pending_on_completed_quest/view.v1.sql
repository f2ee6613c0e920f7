create or replace view integrity.pending_on_completed_quest as
select
  'pending_on_completed_quest'::text as rule,
  'warning'::text as severity,
  application.quest_id,
  application.applicant_id as user_id,
  application.id as application_id,
  null::bigint as participant_id,
  format('application %s waits for an answer, and quest %s is completed', application.id, quest.id) as message,
  jsonb_build_object('application_status', 'rejected') as expected,
  jsonb_build_object('application_status', application.status) as found,
  'reject_application'::text as repair,
  'pending_on_completed_quest:application=' || application.id as key
from public.applications_application as application
inner join public.quests_quest as quest
  on application.quest_id = quest.id
where
  application.status = 'pending'
  and quest.status = 'completed';

comment on view integrity.pending_on_completed_quest is
'Warning. Pending applications to completed quests.';

revoke all on integrity.pending_on_completed_quest from public;
