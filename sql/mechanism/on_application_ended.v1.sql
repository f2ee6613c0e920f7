create or replace function integrity.on_application_ended()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- Plans are cached for the session: one made while the tables were small would scan all of them for every row.
set enable_seqscan = off
as $$
declare
  after jsonb;
begin
  if tg_op = 'UPDATE' then
    -- The row stays approved for the same quest and applicant.
    if
      new.integrity_approved
      and new.quest_id = old.quest_id
      and new.applicant_id = old.applicant_id
    then
      return null;
    end if;
  end if;

  if coalesce(current_setting('integrity.mechanism', true), '') <> '' and integrity.mechanism_is_off(old.quest_id) then
    return null;
  end if;

  perform
  from public.quests_quest
  where id = old.quest_id
  for no key update;

  after := jsonb_build_object('application_status', case when tg_op = 'UPDATE' then new.status end);

  if tg_op = 'UPDATE' and (old.quest_id, old.applicant_id) is distinct from (new.quest_id, new.applicant_id) then
    after := after || jsonb_build_object('quest_id', new.quest_id, 'user_id', new.applicant_id);
  end if;

  perform integrity.log_event(
    'application_ended', old.quest_id, old.applicant_id, old.id, null,
    jsonb_build_object('application_status', old.status), after
  );

  update public.quests_questparticipant as participant
  set status = 'dropped'
  where
    participant.quest_id = old.quest_id
    and participant.user_id = old.applicant_id
    and participant.status in ('joined', 'in_progress')
    and not exists (
      select
      from public.applications_application as application
      where
        application.quest_id = old.quest_id
        and application.applicant_id = old.applicant_id
        and application.status = 'approved'
    );

  return null;
end
$$;

comment on function integrity.on_application_ended() is
'Trigger function. When an application stops being approved, is deleted, or moves to another quest or applicant: locks the quest, logs the event and sets a joined or in_progress participant to dropped, unless the user has another approved application to the quest.';

revoke all on function integrity.on_application_ended() from public;

create or replace trigger integrity_ended_on_update
after update of status, quest_id, applicant_id, integrity_approved on public.applications_application
for each row
when (old.integrity_approved)
execute function integrity.on_application_ended();

create or replace trigger integrity_ended_on_delete
after delete on public.applications_application
for each row
when (old.integrity_approved)
execute function integrity.on_application_ended();

comment on trigger integrity_ended_on_update on public.applications_application is
'Sets the participant to dropped when its application stops being approved or moves to another quest or applicant.';

comment on trigger integrity_ended_on_delete on public.applications_application is
'Sets the participant to dropped when its approved application is deleted.';
