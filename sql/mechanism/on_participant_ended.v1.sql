create or replace function integrity.on_participant_ended()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- Plans are cached for the session: one made while the tables were small would scan all of them for every row.
set enable_seqscan = off
as $$
declare
  quest record;
  after jsonb;
begin
  if coalesce(current_setting('integrity.mechanism', true), '') <> '' and integrity.mechanism_is_off(old.quest_id) then
    return null;
  end if;

  perform
  from public.quests_quest
  where id = old.quest_id
  for no key update;

  update public.applications_application as application
  set status = 'kicked'
  where
    application.quest_id = old.quest_id
    and application.applicant_id = old.user_id
    and application.status = 'approved'
    and not exists (
      select
      from public.quests_questparticipant as participant
      where
        participant.quest_id = old.quest_id
        and participant.user_id = old.user_id
        and participant.status <> 'dropped'
    );

  select
    derived.before,
    derived.after
  into quest
  from integrity.derive_quest(old.quest_id) as derived;

  after := jsonb_build_object('participant_status', case when tg_op = 'UPDATE' then new.status end);

  if tg_op = 'UPDATE' and (old.quest_id, old.user_id) is distinct from (new.quest_id, new.user_id) then
    after := after || jsonb_build_object('quest_id', new.quest_id, 'user_id', new.user_id);
  end if;

  perform integrity.log_event(
    'participant_dropped', old.quest_id, old.user_id, null, old.id,
    jsonb_build_object('participant_status', old.status) || coalesce(quest.before, '{}'),
    after || coalesce(quest.after, '{}')
  );
  return null;
end
$$;

comment on function integrity.on_participant_ended() is
'Trigger function. When a participant is dropped, is deleted, or moves to another quest or user: locks the quest, sets the approved application to kicked unless the user is still an active participant, derives the quest and logs the event.';

revoke all on function integrity.on_participant_ended() from public;

create or replace trigger integrity_ended_on_update
after update of status, quest_id, user_id, integrity_active on public.quests_questparticipant
for each row
when (
  old.integrity_active
  and (
    new.integrity_active is null
    or new.quest_id <> old.quest_id
    or new.user_id <> old.user_id
  )
)
execute function integrity.on_participant_ended();

create or replace trigger integrity_ended_on_delete
after delete on public.quests_questparticipant
for each row
execute function integrity.on_participant_ended();

comment on trigger integrity_ended_on_update on public.quests_questparticipant is
'Sets the approved application to kicked and derives the quest when a participant is dropped or moves to another quest or user.';

comment on trigger integrity_ended_on_delete on public.quests_questparticipant is
'Sets the approved application to kicked and derives the quest when a participant is deleted.';
