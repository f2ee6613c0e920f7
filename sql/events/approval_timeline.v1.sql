create or replace view integrity.approval_timeline as
with witnessed as (
  select
    approval.quest_id,
    approval.user_id,
    approval.application_id,
    approval.participant_id,
    approval.at as approved_at,
    approval.transaction as approval_transaction,
    participant.joined_at as participant_at,
    case
      when participant.id is null then null
      -- A row version carries the lower 32 bits of the transaction that wrote it.
      when participant.xmin::text::numeric = approval.transaction::text::numeric % 4294967296 then 'row version'
      when participant.joined_at = approval.at then 'joined_at'
      when participant.joined_at < approval.at then 'event log'
      else 'none'
    end as witness
  from integrity.event as approval
  left join public.quests_questparticipant as participant
    on
      approval.quest_id = participant.quest_id
      and approval.participant_id = participant.id
  where approval.kind = 'application_approved'
)

select
  witnessed.quest_id,
  witnessed.user_id,
  witnessed.application_id,
  witnessed.participant_id,
  witnessed.approved_at,
  witnessed.approval_transaction,
  witnessed.participant_at,
  case when witnessed.witness = 'row version' then witnessed.approval_transaction end as participant_transaction,
  case
    when witnessed.witness = 'none' then witnessed.participant_at - witnessed.approved_at
    when witnessed.witness is not null then '0'::interval
  end as apart,
  witnessed.witness
from witnessed;

comment on view integrity.approval_timeline is
'Each approval and its participant, the transactions that wrote them and the time between, apart, which is 0. What says so besides the log itself: witness "row version" is the participant''s own xmin, which is the approval''s transaction until somebody writes the row again, is lost by dump and restore, and is a savepoint''s own number when the app used one; then participant_transaction is NULL and "joined_at" says that both carry the same transaction''s time; "event log" is a participant that was there before, linked or reactivated by the approval, and written again since. "none" is one that joined later than its approval, apart says how much; NULL one that is gone.';

revoke all on integrity.approval_timeline from public;
