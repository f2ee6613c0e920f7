create or replace view integrity.suspect_pair as
with application as (
  select
    candidate.quest_id,
    candidate.applicant_id,
    candidate.status
  from public.applications_application as candidate
  -- Approved, or an unknown status.
  where
    candidate.status::text <> all(
      array(
        select known.status
        from integrity.status as known
        where
          known.relation = 'applications_application'
          and known.status <> 'approved'
      )
    )
),

participant as (
  select
    candidate.quest_id,
    candidate.user_id,
    candidate.status
  from public.quests_questparticipant as candidate
  where candidate.status <> 'dropped'
)

select
  coalesce(application.quest_id, participant.quest_id) as quest_id,
  case
    when application.quest_id is null then 'unapproved'
    when participant.quest_id is null and application.status = 'approved' then 'unjoined'
    else 'unknown'
  end as found_as
from application
full join participant
  on
    application.quest_id = participant.quest_id
    and application.applicant_id = participant.user_id
where
  (
    application.status = 'approved'
    and participant.status::text = any(
      array(
        select known.status
        from integrity.status as known
        where known.relation = 'quests_questparticipant'
      )
    )
  ) is not true;

comment on view integrity.suspect_pair is
'Quests where an approved application has no active participant of the same user (unjoined), an active participant has no approved application (unapproved), or one of the two has an unknown status (unknown, or unapproved). One pass over both tables. Part of integrity.suspects().';

revoke all on integrity.suspect_pair from public;
