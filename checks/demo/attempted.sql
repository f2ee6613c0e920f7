-- What the attacked quests look like, one sentence for each.
select
  quest.id,
  concat(
    'quest ', quest.id, ': ', quest.status,
    ', assigned to ', coalesce(person.username, 'nobody'),
    ', application ', string_agg(distinct application.status, ' and '),
    ', participant ', coalesce(string_agg(distinct participant.status, ','), 'none')
  ) as said
from quests_quest as quest
left join users_user as person
  on quest.assigned_to_id = person.id
left join applications_application as application
  on quest.id = application.quest_id
left join quests_questparticipant as participant
  on quest.id = participant.quest_id
where quest.id between 31 and 36
group by
  quest.id,
  person.username
order by quest.id;
