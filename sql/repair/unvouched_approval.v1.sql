create or replace view integrity.unvouched_approval as
select
  violation.quest_id,
  violation.user_id,
  violation.application_id,
  violation.key
from integrity.approved_without_participant as violation
where
  -- Of one that was dropped the row itself says that they left.
  violation.repair = 'create_participant'
  and not exists (
    select
    from integrity.event as approval
    where
      approval.quest_id = violation.quest_id
      and approval.kind = 'application_approved'
      and approval.application_id = violation.application_id
      and approval.user_id = violation.user_id
      and not exists (
        select
        from integrity.event as ending
        where
          ending.quest_id = approval.quest_id
          and ending.kind in ('application_ended', 'participant_dropped')
          and ending.user_id = approval.user_id
          and (ending.application_id is null or ending.application_id = approval.application_id)
          -- An id is of the node that wrote it, and a shard of Citus can move to another one: the later by either.
          and (ending.id > approval.id or ending.at > approval.at)
      )
  );

comment on view integrity.unvouched_approval is
'The violations of approved_without_participant of which the event log does not say that the applicant took part in the end: approved before the layer was attached, or so long ago that the event is gone. The participant may have been lost, or may have left: the app deletes the row of who leaves. A person decides, see the option missing_participant of integrity.start_repair().';

revoke all on integrity.unvouched_approval from public;
