create or replace view integrity.diagram_node as
select
  'law' as diagram,
  task.relation as node,
  format('%s: %s', task.marker, task.condition) as note,
  -- From left to right, in the direction of the foreign keys.
  array_position(
    array['applications_application', 'quests_questparticipant', 'quests_quest'], task.relation
  ) as position
from integrity.backfill as task
union all
select
  law.relation as diagram,
  status.name as node,
  '' as note,
  status.position
from integrity.law as law
cross join
  lateral unnest(substring(law.definition, '\{.*\}')::text[]) with ordinality as status (name, position)
where law.name like '%\_status\_known'
union all
select distinct
  law.relation as diagram,
  'no row' as node,
  '' as note,
  0 as position
from integrity.law as law
where law.name like '%\_status\_known';

comment on view integrity.diagram_node is
'The nodes of four diagrams: "law" has the tables with the conditions of their markers, and a diagram for each of these tables has the statuses of its rows. position orders the nodes of a diagram.';

revoke all on integrity.diagram_node from public;
