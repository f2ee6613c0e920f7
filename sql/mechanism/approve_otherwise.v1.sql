create or replace function integrity.approve_otherwise(
  of_quest bigint,
  applicant uuid,
  application_id bigint,
  application_before text,
  is_taken boolean
)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
-- Plans are cached for the session: one made while the tables were small would scan all of them for every row.
set enable_seqscan = off
as $$
declare
  -- How the caller found the quest if is_taken.
  old_status text := 'open';
  old_assignee uuid;
  new_status text;
  assignee uuid;
  participant_id bigint;
  participant_before text;
  participant_after text;
  announced text;
  before jsonb;
  after jsonb;
begin
  if not is_taken then
    select
      status,
      assigned_to_id
    into old_status, old_assignee
    from public.quests_quest
    where id = of_quest
    for no key update;
  end if;

  select
    id,
    status
  into participant_id, participant_before
  from public.quests_questparticipant
  where
    quest_id = of_quest
    and user_id = applicant
  order by
    status = 'dropped',
    joined_at,
    id
  limit 1
  -- Lock the row: a dropped participant can be moved to another quest without a lock on this one.
  for no key update;

  participant_after := participant_before;

  if participant_id is null then
    insert into public.quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes, integrity_active)
    values (of_quest, applicant, 'joined', now(), '', true)
    returning
      id,
      status
    into participant_id, participant_after;
  elsif participant_before = 'dropped' then
    update public.quests_questparticipant
    set status = 'joined'
    where
      quest_id = of_quest
      and id = participant_id
    returning status
    into participant_after;
  end if;

  announced := set_config('integrity.derived_quest', '', true);

  assignee := integrity.derived_assignee(of_quest, old_assignee);
  new_status := integrity.derived_status(old_status, assignee);

  -- Rare: usually what the caller wrote, or the quest as it was, is right.
  if
    (not is_taken and (assignee is distinct from old_assignee or new_status <> old_status))
    or (is_taken and assignee is distinct from applicant)
  then
    assignee := integrity.derive_locked_quest(of_quest, old_status, old_assignee);
  end if;

  before := jsonb_build_object('application_status', application_before, 'participant_status', participant_before);
  after := jsonb_build_object('application_status', 'approved', 'participant_status', participant_after);

  if assignee is distinct from old_assignee or new_status <> old_status then
    before := before || jsonb_build_object('quest_status', old_status, 'assigned_to_id', old_assignee);
    after := after || jsonb_build_object('quest_status', new_status, 'assigned_to_id', assignee);
  end if;

  return integrity.log_event(
    'application_approved', of_quest, applicant, application_id, participant_id, before, after
  );
end
$$;

comment on function integrity.approve_otherwise(bigint, uuid, bigint, text, boolean) is
'Does the approvals that integrity.on_application_approved(), its caller, does not do: the quest is not open, is assigned or has an active participant, or the applicant has a participant row. Inserts the participant, makes a dropped one active or keeps an active one; then derives the quest and logs the event. is_taken: the caller has assigned the quest to the applicant, and so locked it. Returns true.';

revoke all on function integrity.approve_otherwise(bigint, uuid, bigint, text, boolean) from public;
