create or replace view integrity.completed_quest_unfinished as
select
  'completed_quest_unfinished'::text as rule,
  'warning'::text as severity,
  quest.id as quest_id,
  unfinished.user_id,
  null::bigint as application_id,
  unfinished.id as participant_id,
  format(
    'quest %s is completed, but %s',
    quest.id,
    concat_ws(
      ' and ',
      case when quest.completed_at is null then 'has no completed_at' end,
      'participant ' || unfinished.id || ' is still ' || unfinished.status
    )
  ) as message,
  jsonb_build_object('completed_at', 'a time', 'participant_status', 'completed') as expected,
  jsonb_build_object('completed_at', quest.completed_at, 'participant_status', unfinished.status) as found,
  null::text as repair,
  'completed_quest_unfinished:quest=' || quest.id as key
from public.quests_quest as quest
left join public.quests_questparticipant as unfinished
  on
    quest.id = unfinished.quest_id
    and unfinished.status::text in ('joined', 'in_progress')
    -- Not "=": a hash join would run the subquery for every quest, not only for those that it has found.
    and unfinished.id is not distinct from (
      select participant.id
      from public.quests_questparticipant as participant
      where
        participant.quest_id = quest.id
        and participant.status::text in ('joined', 'in_progress')
      order by
        participant.joined_at,
        participant.id
      limit 1
    )
where
  quest.status = 'completed'
  and (
    quest.completed_at is null
    or unfinished.id is not null
  );

comment on view integrity.completed_quest_unfinished is
'Warning. Completed quests without completed_at, or with participants who are still joined or in_progress. Not repaired: the app pays rewards when it completes a participant, so a person decides.';

revoke all on integrity.completed_quest_unfinished from public;
