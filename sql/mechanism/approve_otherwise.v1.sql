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
-- A plan is kept for the session: one made while the tables were small would read all of them for every row.
set enable_seqscan = off
as $$
declare
  -- As the caller found the quest when it has taken it.
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
  -- Moving a dropped participant away locks no quest: without this lock the row can be gone when it is updated.
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

  -- Rarely: what the caller wrote is right, and so is a quest that somebody is on.
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
'The approvals that are not the usual one: somebody is on the quest already, it is assigned or not open, or the applicant has a participant row. Inserts the participant, reactivates a dropped one, leaves an active one as it is; then derives the quest and logs the event. Called by integrity.on_application_approved(), which says whether it has taken the quest for the applicant (is_taken).';

revoke all on function integrity.approve_otherwise(bigint, uuid, bigint, text, boolean) from public;
