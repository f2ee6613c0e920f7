-- Applications and their participants, as the incident log writes them down.
select
  format('%s (%s)', quest.title, quest.id) as quest,
  person.username as applicant,
  application.status as application,
  coalesce(participant.status, case when application.status = 'approved' then 'MISSING' else '' end) as participant
from applications_application as application
inner join quests_quest as quest
  on application.quest_id = quest.id
inner join users_user as person
  on application.applicant_id = person.id
left join quests_questparticipant as participant
  on
    application.quest_id = participant.quest_id
    and application.applicant_id = participant.user_id
order by
  quest.id,
  application.id;
