create or replace view integrity.suspect_quest as
select
  checked.quest_id,
  checked.misplaced
from (
  select
    quest.id as quest_id,
    case quest.status
      when 'open' then participant.quest_id is not null
      when 'in-progress' then participant.quest_id is null or quest.assigned_to_id is null
      when 'completed'
        then
          quest.completed_at is null
          or participant.status::text in ('joined', 'in_progress')
          or (quest.assigned_to_id is null and participant.quest_id is not null)
      else
        (quest.assigned_to_id is null and participant.quest_id is not null)
        or quest.status::text <> all(
          array(
            select known.status
            from integrity.status as known
            where known.relation = 'quests_quest'
          )
        )
    end as misplaced,
    quest.assigned_to_id is not null
    and (participant.user_id = quest.assigned_to_id) is not true as stranger
  from public.quests_quest as quest
  left join public.quests_questparticipant as participant
    on
      quest.id = participant.quest_id
      and participant.status <> 'dropped'
) as checked
where
  checked.misplaced
  or checked.stranger;

comment on view integrity.suspect_quest is
'Quests whose status, completed_at, assignee and active participants contradict each other or whose status is unknown (misplaced), and quests whose assignee is not the only active participant. Can list a quest several times. One pass over both tables. Part of integrity.suspects().';

revoke all on integrity.suspect_quest from public;
