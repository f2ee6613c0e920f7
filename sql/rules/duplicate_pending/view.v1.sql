create or replace view integrity.duplicate_pending as
select
  'duplicate_pending'::text as rule,
  'warning'::text as severity,
  application.quest_id,
  application.applicant_id as user_id,
  min(application.id) as application_id,
  null::bigint as participant_id,
  format(
    'user %s has %s pending applications to quest %s',
    application.applicant_id,
    count(*),
    application.quest_id
  ) as message,
  jsonb_build_object('pending', 1) as expected,
  jsonb_build_object(
    'pending', count(*),
    'ids', jsonb_agg(application.id order by application.id)
  ) as found,
  null::text as repair,
  'duplicate_pending:quest=' || application.quest_id || ':user=' || application.applicant_id as key
from public.applications_application as application
where
  application.status = 'pending'
  -- A hash join finds the few duplicates, and only they are grouped.
  and exists (
    select
    from public.applications_application as other
    where
      other.quest_id = application.quest_id
      and other.applicant_id = application.applicant_id
      and other.status = 'pending'
      and other.id <> application.id
  )
group by
  application.quest_id,
  application.applicant_id;

comment on view integrity.duplicate_pending is
'Warning. Users with more than one pending application to the same quest. Not repaired: a person decides which one counts.';

revoke all on integrity.duplicate_pending from public;
