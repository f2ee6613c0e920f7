create or replace function integrity.on_application_approved()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A plan is kept for the session: one made while the tables were small would read all of them for every row.
set enable_seqscan = off
as $$
declare
  status_before text;
  is_taken boolean;
  participant_id bigint;
  announced text;
  logged boolean;
begin
  if tg_op = 'UPDATE' then
    -- A save that changes nothing of this.
    if old.integrity_approved and new.quest_id = old.quest_id and new.applicant_id = old.applicant_id then
      return null;
    end if;

    status_before := old.status;
  end if;

  if coalesce(current_setting('integrity.mechanism', true), '') <> '' and integrity.mechanism_is_off(new.quest_id) then
    return null;
  end if;

  -- Tells the triggers of the participant and the quest that this quest is locked and derived here; no constraint
  -- depends on it.
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
  end if;

  if found or not is_taken then
    announced := integrity.approve_otherwise(new.quest_id, new.applicant_id, new.id, status_before, is_taken)::text;
    return null;
  end if;

  insert into public.quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes, integrity_active)
  values (new.quest_id, new.applicant_id, 'joined', now(), '', true)
  returning id
  into participant_id;

  announced := set_config('integrity.derived_quest', '', true);

  logged := integrity.log_event(
    'application_approved', new.quest_id, new.applicant_id, new.id, participant_id,
    jsonb_build_object(
      'application_status', status_before, 'participant_status', null, 'quest_status', 'open', 'assigned_to_id', null
    ),
    jsonb_build_object(
      'application_status', 'approved', 'participant_status', 'joined',
      'quest_status', 'in-progress', 'assigned_to_id', new.applicant_id
    )
  );
  return null;
end
$$;

comment on function integrity.on_application_approved() is
'Trigger function. Gives an application that becomes approved its participant, and the quest its assignee, in the same transaction. The usual approval, of a quest that is open with nobody on it, is done here; integrity.approve_otherwise() does all others.';

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
