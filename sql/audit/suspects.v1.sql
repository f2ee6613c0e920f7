create or replace function integrity.suspects()
returns table (
  rule text,
  quests bigint[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
-- Joining and grouping in index order costs less than filling hash tables larger than the caches.
set enable_hashagg = off
set enable_hashjoin = off
-- Rows read out of order cost more than to sort them.
set random_page_cost = 10
-- Each pass is one process's, and the passes run beside each other: two processes that fill one hash table, or wait for
-- each other's rows, take as long as one.
set min_parallel_table_scan_size = '1TB'
set min_parallel_index_scan_size = '1TB'
-- The planner expects a third of all rows to be suspects and would avoid a parallel plan.
set parallel_tuple_cost = 0
as $$
begin
  -- On Citus each node reads its own shards, in one pass for each rule.
  if integrity.is_distributed() then
    return;
  end if;

  return query
  with suspect as materialized (
    select
      pair.found_as,
      pair.quest_id
    from integrity.suspect_pair as pair
    union all
    select
      kind.found_as,
      quest.quest_id
    from integrity.suspect_quest as quest
    cross join lateral (
      values
      (quest.misplaced),
      (case when quest.stranger then 'stranger' end),
      (case when quest.several then 'several' end)
    ) as kind (found_as)
    where kind.found_as is not null
    union all
    select
      duplicate.relation as found_as,
      duplicate.quest_id
    from integrity.suspect_duplicate as duplicate
  ),

  -- A quest that breaks the rule is always a suspect of one of these kinds.
  covered (rule, found_as) as (
    values
    ('approved_without_participant', array['unjoined']),
    ('participant_without_approval', array['unapproved', 'unknown']),
    ('open_quest_with_participant', array['open']),
    ('unassigned_quest_with_participant', array['open', 'in-progress', 'completed', 'other']),
    ('duplicate_participant', array['participant']),
    -- If the approved applicant takes part, the open quest is misplaced; if not, the pair is incomplete.
    ('open_quest_with_approval', array['unjoined', 'open']),
    ('assignee_not_participant', array['stranger']),
    ('in_progress_without_participant', array['in-progress']),
    ('duplicate_approval', array['application']),
    ('duplicate_pending', array['application']),
    ('completed_quest_unfinished', array['completed']),
    ('unknown_status', array['unapproved', 'unknown', 'other']),
    ('quest_with_several_participants', array['several'])
  )

  select
    covered.rule,
    array_agg(distinct suspect.quest_id) filter (where suspect.quest_id is not null)
  from covered
  inner join integrity.rule as rule
    on
      covered.rule = rule.rule
      and rule.severity <> 'off'
  left join suspect
    on suspect.found_as = any(covered.found_as)
  group by covered.rule;
end
$$;

comment on function integrity.suspects() is
'Returns for each of the layer''s own rules the quests that may break it, NULL for none. Contains every quest that breaks the rule, and few others. Takes a few passes over the tables for all rules together.';

-- Runs with the rights of the caller.
grant execute on function integrity.suspects() to public;
