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
'Clients that write stale quest state, by application_name: how many of their writes of a quest''s status or assignee were overridden and did not only repeat what their own transaction had found, as the app''s approve and kick do, on how many quests, by which actors, first and last when, and the latest quest as an example. An empty application_name is a client that sets none.';

revoke all on integrity.corrections from public;
