create or replace function integrity.on_application_approved()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A plan is kept for the session: one made while the tables were small would read all of them for every row.
set enable_seqscan = off
as $$
declare
  -- The quest as it was and as it is derived; the values given here are those of the usual approval.
  old_status text := 'open';
  old_assignee uuid;
  new_status text := 'in-progress';
  assignee uuid := new.applicant_id;
  is_taken boolean;
  is_alone boolean := false;
  participant_id bigint;
  participant_before text;
  participant_status text := 'joined';
  linked bigint;
  before jsonb;
  after jsonb;
  announced text;
  logged boolean;
begin
  if tg_op = 'UPDATE' then
    -- A save that changes nothing of this.
    if
      old.integrity_approved
      and new.quest_id = old.quest_id
      and new.applicant_id = old.applicant_id
    then
      return null;
    end if;
  end if;

  -- Tells the triggers of the participant and the quest that this quest is locked and derived here; the law does not
  -- listen to it.
  announced := set_config('integrity.derived_quest', new.quest_id::text, true);

  -- Usually the quest is open and nobody is on it. Writing it at once also locks it: two transactions that change the
  -- participants of one quest meet here, and the second reads when the first has ended.
  update public.quests_quest
  set
    status = 'in-progress',
    assigned_to_id = new.applicant_id,
    integrity_assigned = true
  where
    id = new.quest_id
    and status = 'open'
    and assigned_to_id is null;
  is_taken := found;

  if is_taken then
    perform
    from public.quests_questparticipant
    where
      quest_id = new.quest_id
      and (user_id = new.applicant_id or status <> 'dropped')
    limit 1;
    is_alone := not found;
  else
    select
      status,
      assigned_to_id
    into old_status, old_assignee
    from public.quests_quest
    where id = new.quest_id
    for no key update;
  end if;

  if not is_alone then
    select
      id,
      status,
      application_id
    into participant_id, participant_before, linked
    from public.quests_questparticipant
    where
      quest_id = new.quest_id
      and user_id = new.applicant_id
    order by
      status = 'dropped',
      joined_at,
      id
    limit 1
    -- Whoever moves a dropped participant away locks no quest: without this lock the row can be gone when it is
    -- updated.
    for no key update;
  end if;

  if participant_id is null then
    insert into public.quests_questparticipant (
      quest_id,
      user_id,
      status,
      joined_at,
      progress_notes,
      application_id,
      application_date,
      reviewed_at,
      integrity_active
    )
    values (
      new.quest_id,
      new.applicant_id,
      'joined',
      now(),
      '',
      new.id,
      new.applied_at,
      new.reviewed_at,
      true
    )
    returning id
    into participant_id;
  else
    participant_status := participant_before;

    if participant_before = 'dropped' or linked is distinct from new.id then
      update public.quests_questparticipant
      set
        status = case when status = 'dropped' then 'joined' else status end,
        application_id = new.id,
        application_date = new.applied_at,
        reviewed_at = new.reviewed_at
      where
        quest_id = new.quest_id
        and id = participant_id
      returning status
      into participant_status;
    end if;
  end if;

  announced := set_config('integrity.derived_quest', '', true);

  if not is_alone then
    assignee := integrity.derived_assignee(new.quest_id, old_assignee);
    new_status := integrity.derived_status(old_status, assignee);

    -- Rarely: what was written above is right, and so is a quest that somebody is on.
    if
      (not is_taken and (assignee is distinct from old_assignee or new_status <> old_status))
      or (is_taken and assignee is distinct from new.applicant_id)
    then
      assignee := integrity.derive_locked_quest(new.quest_id, old_status, old_assignee);
    end if;
  end if;

  if assignee is distinct from old_assignee or new_status <> old_status then
    before := jsonb_build_object(
      'application_status', case when tg_op = 'UPDATE' then old.status end,
      'participant_status', participant_before,
      'quest_status', old_status,
      'assigned_to_id', old_assignee
    );
    after := jsonb_build_object(
      'application_status', new.status,
      'participant_status', participant_status,
      'quest_status', new_status,
      'assigned_to_id', assignee
    );
  else
    before := jsonb_build_object(
      'application_status', case when tg_op = 'UPDATE' then old.status end,
      'participant_status', participant_before
    );
    after := jsonb_build_object('application_status', new.status, 'participant_status', participant_status);
  end if;

  logged := integrity.log_event(
    'application_approved', new.quest_id, new.applicant_id, new.id, participant_id, before, after
  );
  return null;
end
$$;

comment on function integrity.on_application_approved() is
'Trigger function. An application that becomes approved has its participant in the same transaction: inserted, reactivated when dropped, or linked when already there.';

revoke all on function integrity.on_application_approved() from public;

-- PostgreSQL reads the conditions anew for every statement, in a time that grows with their length: the functions ask
-- the rest.
create or replace trigger integrity_approved_on_insert
after insert on public.applications_application
for each row
when (new.integrity_approved)
execute function integrity.on_application_approved();

create or replace trigger integrity_approved_on_update
after update of status, quest_id, applicant_id, integrity_approved on public.applications_application
for each row
when (new.integrity_approved)
execute function integrity.on_application_approved();

comment on trigger integrity_approved_on_insert on public.applications_application is
'Gives an application inserted as approved its participant.';

comment on trigger integrity_approved_on_update on public.applications_application is
'Gives an application that becomes approved, or moves while approved, its participant.';
