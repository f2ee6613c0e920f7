create or replace function integrity.suspects()
returns table (
  rule text,
  quests bigint[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
-- Groups come out of an index in order; a hash table of all of them would cost three times that.
set enable_hashagg = off
-- PostgreSQL expects a third of all rows to be suspects and shies away from passing them between processes.
set parallel_tuple_cost = 0
as $$
begin
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

  -- A quest that breaks one of these rules is always a suspect of that kind.
  covered (rule, found_as) as (
    values
    ('approved_without_participant', array['pair']),
    ('participant_without_approval', array['pair']),
    ('open_quest_with_participant', array['misplaced']),
    ('unassigned_quest_with_participant', array['misplaced']),
    ('duplicate_participant', array['participant']),
    -- Who is approved either takes part, then the quest is misplaced, or not.
    ('open_quest_with_approval', array['pair', 'misplaced']),
    ('assignee_not_participant', array['misplaced', 'stranger']),
    ('in_progress_without_participant', array['misplaced']),
    ('duplicate_approval', array['application']),
    ('duplicate_pending', array['application']),
    ('completed_quest_unfinished', array['misplaced']),
    ('unknown_status', array['pair', 'misplaced'])
  )

  select
    covered.rule,
    array_agg(distinct suspect.quest_id) filter (where suspect.quest_id is not null)
  from covered
  left join suspect
    on suspect.found_as = any(covered.found_as)
  group by covered.rule;
end
$$;

comment on function integrity.suspects() is
'The quests that may break a rule, for each of the layer''s own rules, NULL for none: a few passes over the tables that all rules share. Every quest that breaks a rule is among them; most of the others are not.';

-- With the rights of who calls it.
grant execute on function integrity.suspects() to public;
