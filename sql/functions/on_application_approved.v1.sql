create or replace function integrity.on_application_approved()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A plan is kept for the session: one made while the tables were small would read all of them for every row.
set enable_seqscan = off
as $$
declare
  quest record;
  participant record;
  participant_before text;
  assignee uuid;
  before jsonb;
  after jsonb;
  announced text;
  logged boolean;
begin
  -- Two transactions that change the participants of one quest meet here: the second reads when the first has ended.
  select
    status,
    assigned_to_id
  into quest
  from public.quests_quest
  where id = new.quest_id
  for no key update;

  select
    id,
    status,
    application_id
  into participant
  from public.quests_questparticipant
  where
    quest_id = new.quest_id
    and user_id = new.applicant_id
  order by
    status = 'dropped',
    joined_at,
    id
  limit 1
  -- Whoever moves a dropped participant away locks no quest: without this lock the row can be gone when it is updated.
  for no key update;
  participant_before := participant.status;

  -- Tells the participant's own triggers that this quest is locked and derived below; the law does not listen to it.
  announced := set_config('integrity.derived_quest', new.quest_id::text, true);

  if participant.id is null then
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
    returning id, status, application_id
    into participant;
  elsif participant.status = 'dropped' or participant.application_id is distinct from new.id then
    update public.quests_questparticipant
    set
      status = case when status = 'dropped' then 'joined' else status end,
      application_id = new.id,
      application_date = new.applied_at,
      reviewed_at = new.reviewed_at
    where
      quest_id = new.quest_id
      and id = participant.id
    returning id, status, application_id
    into participant;
  end if;

  announced := set_config('integrity.derived_quest', '', true);
  assignee := integrity.derive_locked_quest(new.quest_id, quest.status, quest.assigned_to_id);

  before := jsonb_build_object(
    'application_status', case when tg_op = 'UPDATE' then old.status end,
    'participant_status', participant_before
  );
  after := jsonb_build_object('application_status', new.status, 'participant_status', participant.status);

  if
    assignee is distinct from quest.assigned_to_id
    or integrity.derived_status(quest.status, assignee) <> quest.status
  then
    before := before || jsonb_build_object('quest_status', quest.status, 'assigned_to_id', quest.assigned_to_id);
    after := after || jsonb_build_object(
      'quest_status', integrity.derived_status(quest.status, assignee), 'assigned_to_id', assignee
    );
  end if;

  logged := integrity.log_event(
    'application_approved', new.quest_id, new.applicant_id, new.id, participant.id, before, after
  );
  return null;
end
$$;

comment on function integrity.on_application_approved() is
'Trigger function. An application that becomes approved has its participant in the same transaction: inserted, reactivated when dropped, or linked when already there.';

revoke all on function integrity.on_application_approved() from public;
