create or replace view integrity.unknown_status as
select
  'unknown_status'::text as rule,
  'error'::text as severity,
  stray.quest_id,
  stray.user_id,
  stray.application_id,
  stray.participant_id,
  format('%s has the unknown status %L', stray.subject, stray.status) as message,
  jsonb_build_object('status', stray.expected) as expected,
  jsonb_build_object('status', stray.status) as found,
  null::text as repair,
  'unknown_status:' || replace(stray.subject, ' ', '=') as key
-- No subquery depends on the row: the table that they read is on one node of a Citus cluster only.
from (
  select
    application.quest_id,
    application.applicant_id as user_id,
    application.id as application_id,
    null::bigint as participant_id,
    'application ' || application.id as subject,
    application.status,
    (
      select jsonb_agg(known.status order by known.position)
      from integrity.status as known
      where known.relation = 'applications_application'
    ) as expected
  from public.applications_application as application
  where
    application.status::text <> all(
      array(
        select known.status
        from integrity.status as known
        where known.relation = 'applications_application'
      )
    )
  union all
  select
    participant.quest_id,
    participant.user_id,
    null::bigint as application_id,
    participant.id as participant_id,
    'participant ' || participant.id as subject,
    participant.status,
    (
      select jsonb_agg(known.status order by known.position)
      from integrity.status as known
      where known.relation = 'quests_questparticipant'
    ) as expected
  from public.quests_questparticipant as participant
  where
    participant.status::text <> all(
      array(
        select known.status
        from integrity.status as known
        where known.relation = 'quests_questparticipant'
      )
    )
  union all
  select
    quest.id as quest_id,
    quest.assigned_to_id as user_id,
    null::bigint as application_id,
    null::bigint as participant_id,
    'quest ' || quest.id as subject,
    quest.status,
    (
      select jsonb_agg(known.status order by known.position)
      from integrity.status as known
      where known.relation = 'quests_quest'
    ) as expected
  from public.quests_quest as quest
  where
    quest.status::text <> all(
      array(
        select known.status
        from integrity.status as known
        where known.relation = 'quests_quest'
      )
    )
) as stray;

comment on view integrity.unknown_status is
'Error. Applications, participants and quests with a status that is not listed in integrity.status. Not repaired: a person decides what was meant.';

revoke all on integrity.unknown_status from public;
