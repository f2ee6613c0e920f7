create or replace view integrity.assignee_not_participant as
select
  'assignee_not_participant'::text as rule,
  'error'::text as severity,
  quest.id as quest_id,
  quest.assigned_to_id as user_id,
  null::bigint as application_id,
  null::bigint as participant_id,
  format(
    'quest %s is assigned to user %s, who does not take part in it',
    quest.id,
    quest.assigned_to_id
  ) as message,
  jsonb_build_object('assigned_to_id', 'an active participant, or nobody') as expected,
  jsonb_build_object('assigned_to_id', quest.assigned_to_id) as found,
  'derive_quest'::text as repair,
  'assignee_not_participant:quest=' || quest.id as key
from public.quests_quest as quest
where
  quest.assigned_to_id is not null
  and not exists (
    select
    from public.quests_questparticipant as participant
    where
      participant.quest_id = quest.id
      and participant.user_id = quest.assigned_to_id
      and participant.status <> 'dropped'
  );

comment on view integrity.assignee_not_participant is
'Error. Quests assigned to a user who is not one of their active participants.';

revoke all on integrity.assignee_not_participant from public;
