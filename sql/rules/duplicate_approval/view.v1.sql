create or replace view integrity.duplicate_approval as
select
  'duplicate_approval'::text as rule,
  'error'::text as severity,
  application.quest_id,
  application.applicant_id as user_id,
  min(application.id) as application_id,
  null::bigint as participant_id,
  format(
    'user %s has %s approved applications to quest %s',
    application.applicant_id,
    count(*),
    application.quest_id
  ) as message,
  jsonb_build_object('approved', 1) as expected,
  jsonb_build_object(
    'approved', count(*),
    'ids', jsonb_agg(application.id order by application.id)
  ) as found,
  'reject_duplicates'::text as repair,
  'duplicate_approval:quest=' || application.quest_id || ':user=' || application.applicant_id as key
from public.applications_application as application
where
  application.status = 'approved'
  -- A hash join finds the few duplicates, and only they are grouped.
  and exists (
    select
    from public.applications_application as other
    where
      other.quest_id = application.quest_id
      and other.applicant_id = application.applicant_id
      and other.status = 'approved'
      and other.id <> application.id
  )
group by
  application.quest_id,
  application.applicant_id;

comment on view integrity.duplicate_approval is
'Error. Users with more than one approved application to the same quest.';

revoke all on integrity.duplicate_approval from public;
