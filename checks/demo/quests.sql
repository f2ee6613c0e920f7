-- Quests, who they are assigned to, and how many take part.
select
  format('%s (%s)', quest.title, quest.id) as quest,
  quest.status,
  coalesce(person.username, 'nobody') as assigned_to,
  (
    select count(*)
    from quests_questparticipant as participant
    where participant.quest_id = quest.id
  )::text as participants
from quests_quest as quest
left join users_user as person
  on quest.assigned_to_id = person.id
order by quest.id;
