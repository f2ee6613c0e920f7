create or replace function integrity.on_application_approved()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  quest record;
  participant record;
  participant_before text;
  approved_before boolean;
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

  approved_before := exists (
    select
    from public.applications_application
    where
      quest_id = new.quest_id
      and applicant_id = new.applicant_id
      and integrity_approved
      and id <> new.id
  );

  if approved_before and participant.status <> 'dropped' then
    if not exists (
      select
      from pg_catalog.pg_constraint as approval_key
      where
        approval_key.conrelid = tg_relid
        and approval_key.conname = 'integrity_approved_application_key'
    ) then
      -- Old duplicates keep the key from being built; new ones are refused all the same.
      raise exception 'user % has an approved application to quest % already', new.applicant_id, new.quest_id
        using
          errcode = 'unique_violation',
          schema = tg_table_schema,
          table = tg_table_name,
          constraint = 'integrity_approved_application_key',
          hint = 'End the other application first.';
    end if;
  elsif approved_before then
    -- An older approval that outlived its participant (a row from before the law) ended when that participant did.
    -- One written by this very statement, which has the same xmin, is a second approval: the key refuses it.
    update public.applications_application
    set status = 'kicked'
    where
      quest_id = new.quest_id
      and applicant_id = new.applicant_id
      and status = 'approved'
      and id <> new.id
      and xmin <> (
        select own.xmin
        from public.applications_application as own
        where
          own.quest_id = new.quest_id
          and own.id = new.id
      );
  end if;

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
