create or replace function integrity.derive_locked_quests(quests bigint[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  ids bigint[];
  statuses text[];
  assignees uuid[];
begin
  -- One statement each, since on Citus a function that reads the app's tables cannot be called from a query on a shard.
  select
    array_agg(quest.id),
    array_agg(quest.status::text),
    array_agg(quest.assigned_to_id)
  into ids, statuses, assignees
  from public.quests_quest as quest
  where quest.id = any(quests);

  with derived as materialized (
    select
      written.id,
      written.status,
      integrity.derived_assignee(written.id, written.assignee) as assignee
    from unnest(ids, statuses, assignees) as written (id, status, assignee)
  )

  select
    array_agg(derived.id),
    array_agg(integrity.derived_status(derived.status, derived.assignee)),
    array_agg(derived.assignee)
  into ids, statuses, assignees
  from derived;

  update public.quests_quest as quest
  set
    status = derived.status,
    assigned_to_id = derived.assignee
  from unnest(ids, statuses, assignees) as derived (id, status, assignee)
  where quest.id = derived.id;
end
$$;

comment on function integrity.derive_locked_quests(bigint[]) is
'Derives status and assignee of quests that the caller has locked from their active participants, and writes them.';

revoke all on function integrity.derive_locked_quests(bigint[]) from public;
