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
'One row per approval: its participant, the transactions that wrote the two, and the time between them (apart), normally 0. witness says what confirms this besides the event log. "row version": the participant''s xmin is the approval''s transaction; lost when the row is written again or restored from a dump, and absent when the app used a savepoint. "joined_at": joined_at is the time of the approval''s transaction. "event log": the participant joined before the approval, which kept it or made it active again. "none": the participant joined after the approval. NULL: the participant does not exist any more. participant_transaction is set only for "row version".';

revoke all on integrity.approval_timeline from public;
