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
'Quests where a user has more than one application, or more than one participant, in any status. Uses index-only scans on vacuumed tables. Part of integrity.suspects().';

revoke all on integrity.suspect_duplicate from public;
