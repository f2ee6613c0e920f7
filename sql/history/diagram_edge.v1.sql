create or replace view integrity.diagram_edge as
with logged as (
  select
    'applications_application' as diagram,
    coalesce(event.before ->> 'application_status', 'no row') as source,
    coalesce(event.after ->> 'application_status', 'no row') as target
  from integrity.event as event
  where event.kind in ('application_approved', 'application_ended')
  union all
  select
    'quests_questparticipant' as diagram,
    coalesce(event.before ->> 'participant_status', 'no row') as source,
    coalesce(event.after ->> 'participant_status', 'no row') as target
  from integrity.event as event
  where event.kind in ('application_approved', 'participant_joined', 'participant_dropped')
  union all
  select
    'quests_quest' as diagram,
    event.before ->> 'quest_status' as source,
    event.after ->> 'quest_status' as target
  from integrity.event as event
  where
    event.kind in ('application_approved', 'participant_joined', 'participant_dropped')
    and event.before ? 'quest_status'
    and event.after ? 'quest_status'
)

select
  'law' as diagram,
  law.relation as source,
  substring(law.definition, '\.([a-z_]+) \(') as target,
  format('%s (%s)', law.name, status.state) as label
from integrity.law as law
inner join integrity.law_status as status
  on law.name = status.name
where
  law.kind = 'foreign key'
  and status.state <> 'not requested'
union all
select
  logged.diagram,
  logged.source,
  logged.target,
  format('%s×', count(*)) as label
from logged
where logged.source <> logged.target
group by
  logged.diagram,
  logged.source,
  logged.target;

comment on view integrity.diagram_edge is
'The edges of the diagrams in integrity.diagram_node: the foreign keys of the law with their state, and the changes of status in the event log with their number.';

revoke all on integrity.diagram_edge from public;
