create or replace view integrity.open_quest_with_approval as
select
  'open_quest_with_approval'::text as rule,
  'error'::text as severity,
  quest.id as quest_id,
  earliest.applicant_id as user_id,
  earliest.id as application_id,
  null::bigint as participant_id,
  format(
    'quest %s is open although application %s of user %s is approved',
    quest.id,
    earliest.id,
    earliest.applicant_id
  ) as message,
  jsonb_build_object('quest_status', 'in-progress') as expected,
  jsonb_build_object('quest_status', quest.status) as found,
  'derive_quest'::text as repair,
  'open_quest_with_approval:quest=' || quest.id as key
from public.quests_quest as quest
inner join public.applications_application as earliest
  on
    quest.id = earliest.quest_id
    and earliest.status = 'approved'
where
  quest.status = 'open'
  -- Not "=": a hash join would run the subquery for every quest, not only for those that it has found.
  and earliest.id is not distinct from (
    select application.id
    from public.applications_application as application
    where
      application.quest_id = quest.id
      and application.status = 'approved'
    order by application.id
    limit 1
  );

comment on view integrity.open_quest_with_approval is
'Error. Open quests with an approved application.';

revoke all on integrity.open_quest_with_approval from public;
