create or replace view integrity.suspect_quest as
select
  checked.quest_id,
  -- The same in each row of a quest, or NULL.
  max(checked.misplaced) as misplaced,
  -- None of the participants is the assignee.
  bool_and(checked.stranger) as stranger,
  count(*) > 1 as several
from (
  select
    quest.id as quest_id,
    case quest.status
      when 'open'
        then
          case
            when participant.quest_id is not null
              then 'open'
          end
      when 'in-progress'
        then
          case
            when
              participant.quest_id is null
              or quest.assigned_to_id is null
              then 'in-progress'
          end
      when 'completed'
        then
          case
            when
              quest.completed_at is null
              or participant.status::text in ('joined', 'in_progress')
              or (quest.assigned_to_id is null and participant.quest_id is not null)
              then 'completed'
          end
      else
        case
          when
            (quest.assigned_to_id is null and participant.quest_id is not null)
            or quest.status::text <> all(
              array(
                select known.status
                from integrity.status as known
                where known.relation = 'quests_quest'
              )
            )
            then 'other'
        end
    end as misplaced,
    quest.assigned_to_id is not null
    and (participant.user_id = quest.assigned_to_id) is not true as stranger
  from public.quests_quest as quest
  left join public.quests_questparticipant as participant
    on
      quest.id = participant.quest_id
      and participant.status <> 'dropped'
) as checked
group by checked.quest_id
having
  max(checked.misplaced) is not null
  or bool_and(checked.stranger)
  or (
    count(*) > 1
    and (
      select rule.severity <> 'off'
      from integrity.rule as rule
      where rule.rule = 'quest_with_several_participants'
    )
  );

comment on view integrity.suspect_quest is
'Quests whose status, completed_at, assignee and active participants contradict each other or whose status is unknown (misplaced names the status: open, in-progress, completed or other), quests whose assignee is not an active participant (stranger) and, where the rule quest_with_several_participants is on, quests with several active participants. One pass over both tables. Part of integrity.suspects().';

revoke all on integrity.suspect_quest from public;
