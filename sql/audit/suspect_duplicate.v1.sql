create or replace view integrity.suspect_duplicate as
select
  'application' as relation,
  application.quest_id
from public.applications_application as application
group by
  application.quest_id,
  application.applicant_id
having count(*) > 1
union all
select
  'participant' as relation,
  participant.quest_id
from public.quests_questparticipant as participant
group by
  participant.quest_id,
  participant.user_id
having count(*) > 1;

comment on view integrity.suspect_duplicate is
'Quests where somebody has several applications, or several participants, of whatever status. Where the tables are vacuumed it reads indexes only. For integrity.suspects().';

revoke all on integrity.suspect_duplicate from public;
