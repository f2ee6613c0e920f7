create or replace view integrity.corrections as
select
  correction.application_name,
  array_agg(distinct correction.actor) as actors,
  count(*) as writes,
  count(distinct correction.quest_id) as quests,
  min(correction.at) as first_seen,
  max(correction.at) as last_seen,
  (array_agg(correction.quest_id order by correction.id desc))[1] as example_quest_id
from integrity.event as correction
where correction.kind = 'quest_write_corrected'
group by correction.application_name;

comment on view integrity.corrections is
'Who keeps writing stale quest state, by application_name: how many writes of a quest''s status or assignee were overridden, first and last when, and the latest quest as an example. Empty text is a client that does not name itself.';

revoke all on integrity.corrections from public;
