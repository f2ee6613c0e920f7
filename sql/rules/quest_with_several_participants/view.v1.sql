create or replace view integrity.quest_with_several_participants as
select
  'quest_with_several_participants'::text as rule,
  'warning'::text as severity,
  participant.quest_id,
  null::uuid as user_id,
  null::bigint as application_id,
  null::bigint as participant_id,
  format(
    'quest %s has %s active participants',
    participant.quest_id,
    count(*)
  ) as message,
  jsonb_build_object('participants', 1) as expected,
  jsonb_build_object(
    'participants', count(*),
    'ids', jsonb_agg(participant.id order by participant.id)
  ) as found,
  null::text as repair,
  'quest_with_several_participants:quest=' || participant.quest_id as key
from public.quests_questparticipant as participant
where participant.status <> 'dropped'
group by participant.quest_id
having count(*) > 1;

comment on view integrity.quest_with_several_participants is
'Off until a project turns it on or enforces it. Quests with more than one active participant. Not repaired: a person decides who stays.';

revoke all on integrity.quest_with_several_participants from public;
