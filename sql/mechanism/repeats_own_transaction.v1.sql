create or replace function integrity.repeats_own_transaction(
  of_quest bigint,
  written_status text,
  written_assignee uuid,
  kept_status text,
  kept_assignee uuid
)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
-- A plan is kept for the session: one made while the tables were small would read all of them for every row.
set enable_seqscan = off
as $$
declare
  repeats_status boolean;
  repeats_assignee boolean;
begin
  -- From the first of these events on, the transaction holds the quest: nobody else's work lies between.
  select
    bool_or(earlier.before ->> 'quest_status' = written_status),
    bool_or((earlier.before ->> 'assigned_to_id')::uuid is not distinct from written_assignee)
  into repeats_status, repeats_assignee
  from integrity.event as earlier
  where
    earlier.quest_id = of_quest
    and earlier.at = now()
    and earlier.transaction = pg_current_xact_id()
    and earlier.kind in ('application_approved', 'participant_joined', 'participant_dropped')
    and earlier.before ->> 'quest_status' is not null;

  return (written_status = kept_status or repeats_status is true)
  and (written_assignee is not distinct from kept_assignee or repeats_assignee is true);
end
$$;

comment on function integrity.repeats_own_transaction(bigint, text, uuid, text, uuid) is
'Whether a write of a quest that the mechanism overrides only repeats what its own transaction had found there before it changed the quest itself: the app loads a quest, approves or kicks, and saves what it loaded. That would have undone nobody else''s work and is no correction. Status and assignee are each either kept or such a repetition.';

revoke all on function integrity.repeats_own_transaction(bigint, text, uuid, text, uuid) from public;
