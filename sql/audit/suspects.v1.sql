create or replace function integrity.suspects()
returns table (
  rule text,
  quests bigint[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
-- Grouping in index order costs a third of hashing all groups.
set enable_hashagg = off
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
      'pair' as found_as,
      pair.quest_id
    from integrity.suspect_pair as pair
    union all
    select
      case when quest.misplaced then 'misplaced' else 'stranger' end as found_as,
      quest.quest_id
    from integrity.suspect_quest as quest
    union all
    select
      duplicate.relation as found_as,
      duplicate.quest_id
    from integrity.suspect_duplicate as duplicate
  ),

  -- A quest that breaks the rule is always a suspect of one of these kinds.
  covered (rule, found_as) as (
    values
    ('approved_without_participant', array['pair']),
    ('participant_without_approval', array['pair']),
    ('open_quest_with_participant', array['misplaced']),
    ('unassigned_quest_with_participant', array['misplaced']),
    ('duplicate_participant', array['participant']),
    -- If the approved applicant takes part, the open quest is misplaced; if not, the pair is incomplete.
    ('open_quest_with_approval', array['pair', 'misplaced']),
    ('assignee_not_participant', array['misplaced', 'stranger']),
    ('in_progress_without_participant', array['misplaced']),
    ('duplicate_approval', array['application']),
    ('duplicate_pending', array['application']),
    ('completed_quest_unfinished', array['misplaced']),
    ('unknown_status', array['pair', 'misplaced']),
    -- Of several participants only one can be the assignee.
    ('quest_with_several_participants', array['misplaced', 'stranger'])
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
