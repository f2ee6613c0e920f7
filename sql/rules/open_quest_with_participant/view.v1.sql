create or replace view integrity.open_quest_with_participant as
select
  'open_quest_with_participant'::text as rule,
  'error'::text as severity,
  quest.id as quest_id,
  earliest.user_id,
  null::bigint as application_id,
  earliest.id as participant_id,
  format('quest %s is open although user %s takes part in it', quest.id, earliest.user_id) as message,
  jsonb_build_object('quest_status', 'in-progress') as expected,
  jsonb_build_object('quest_status', quest.status) as found,
  'derive_quest'::text as repair,
  'open_quest_with_participant:quest=' || quest.id as key
from public.quests_quest as quest
inner join public.quests_questparticipant as earliest
  on
    quest.id = earliest.quest_id
    and earliest.status <> 'dropped'
where
  quest.status = 'open'
  -- Not "=": a hash join would run the subquery for every quest, not only for those that it has found.
  and earliest.id is not distinct from (
    select participant.id
    from public.quests_questparticipant as participant
    where
      participant.quest_id = quest.id
      and participant.status <> 'dropped'
    order by
      participant.joined_at,
      participant.id
    limit 1
  );

comment on view integrity.open_quest_with_participant is
'Error. Open quests with an active participant.';

revoke all on integrity.open_quest_with_participant from public;
