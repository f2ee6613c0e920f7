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
  known.relation as diagram,
  known.status as node,
  '' as note,
  known.position
from integrity.status as known
union all
select distinct
  known.relation as diagram,
  'no row' as node,
  '' as note,
  0 as position
from integrity.status as known;

comment on view integrity.diagram_node is
'The nodes of four diagrams: "law" has the tables with the conditions of their markers, and a diagram for each of these tables has the statuses of its rows. position orders the nodes of a diagram.';

revoke all on integrity.diagram_node from public;
