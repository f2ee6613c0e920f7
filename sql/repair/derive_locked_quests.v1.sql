create or replace function integrity.derive_locked_quests(quests bigint[])
returns table (
  quest_id bigint,
  before jsonb,
  after jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  ids bigint[];
  old_statuses text[];
  old_assignees uuid[];
  new_statuses text[];
  new_assignees uuid[];
begin
  -- One statement each, since on Citus a function that reads the app's tables cannot be called from a query on a shard.
  -- So is this one: with a subquery as its argument it stands in the SELECT list. In FROM it would go to the nodes.
  select
    array_agg(quest.id),
    array_agg(quest.status::text),
    array_agg(quest.assigned_to_id)
  into ids, old_statuses, old_assignees
  from public.quests_quest as quest
  where quest.id = any(quests);

  with assigned as materialized (
    select
      written.id,
      written.status,
      written.assignee,
      integrity.derived_assignee(written.id, written.assignee) as new_assignee
    from unnest(ids, old_statuses, old_assignees) as written (id, status, assignee)
  ),

  derived as (
    select
      assigned.id,
      assigned.status,
      assigned.assignee,
      assigned.new_assignee,
      integrity.derived_status(assigned.status, assigned.new_assignee) as new_status
    from assigned
  )

  select
    array_agg(derived.id),
    array_agg(derived.status),
    array_agg(derived.assignee),
    array_agg(derived.new_status),
    array_agg(derived.new_assignee)
  into ids, old_statuses, old_assignees, new_statuses, new_assignees
  from derived
  where
    derived.new_status <> derived.status
    or derived.new_assignee is distinct from derived.assignee;

  -- Else the trigger would derive each of them again.
  perform integrity.pause_mechanism(true);

  update public.quests_quest as quest
  set
    status = derived.status,
    assigned_to_id = derived.assignee
  from unnest(ids, new_statuses, new_assignees) as derived (id, status, assignee)
  where quest.id = derived.id;

  perform integrity.pause_mechanism(false);

  return query
  select
    derived.id,
    jsonb_build_object('quest_status', derived.old_status, 'assigned_to_id', derived.old_assignee),
    jsonb_build_object('quest_status', derived.new_status, 'assigned_to_id', derived.new_assignee)
  from
    unnest(ids, old_statuses, old_assignees, new_statuses, new_assignees)
    as derived (id, old_status, old_assignee, new_status, new_assignee);
end
$$;

comment on function integrity.derive_locked_quests(bigint[]) is
'Derives status and assignee of quests that the caller has locked from their active participants, and writes those that differ. Returns these, with both before and after. Leaves the mechanism on.';

revoke all on function integrity.derive_locked_quests(bigint[]) from public;
