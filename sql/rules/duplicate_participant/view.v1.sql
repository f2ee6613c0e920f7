create or replace view integrity.duplicate_participant as
select
  'duplicate_participant'::text as rule,
  'error'::text as severity,
  participant.quest_id,
  participant.user_id,
  null::bigint as application_id,
  min(participant.id) as participant_id,
  format(
    'user %s has %s participant rows on quest %s',
    participant.user_id,
    count(*),
    participant.quest_id
  ) as message,
  jsonb_build_object('participants', 1) as expected,
  jsonb_build_object(
    'participants', count(*),
    'ids', jsonb_agg(participant.id order by participant.id)
  ) as found,
  'merge_participants'::text as repair,
  'duplicate_participant:quest=' || participant.quest_id || ':user=' || participant.user_id as key
from public.quests_questparticipant as participant
where
  -- A hash join finds the few duplicates, and only they are grouped.
  exists (
    select
    from public.quests_questparticipant as other
    where
      other.quest_id = participant.quest_id
      and other.user_id = participant.user_id
      and other.id <> participant.id
  )
group by
  participant.quest_id,
  participant.user_id;

comment on view integrity.duplicate_participant is
'Error. Users with more than one participant row on the same quest.';

revoke all on integrity.duplicate_participant from public;
