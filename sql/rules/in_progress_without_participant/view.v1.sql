create or replace view integrity.in_progress_without_participant as
select
  'in_progress_without_participant'::text as rule,
  'error'::text as severity,
  quest.id as quest_id,
  quest.assigned_to_id as user_id,
  null::bigint as application_id,
  null::bigint as participant_id,
  format('quest %s is in progress although nobody takes part in it', quest.id) as message,
  jsonb_build_object('quest_status', 'open') as expected,
  jsonb_build_object('quest_status', quest.status) as found,
  'derive_quest'::text as repair,
  'in_progress_without_participant:quest=' || quest.id as key
from public.quests_quest as quest
where
  quest.status = 'in-progress'
  and not exists (
    select
    from public.quests_questparticipant as participant
    where
      participant.quest_id = quest.id
      and participant.status <> 'dropped'
  );

comment on view integrity.in_progress_without_participant is
'Error. Quests in progress without an active participant.';

revoke all on integrity.in_progress_without_participant from public;
