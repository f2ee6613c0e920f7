create or replace function integrity.on_participant_ended()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
  from public.quests_quest
  where id = old.quest_id
  for no key update;

  perform integrity.log_event(
    'participant_dropped', old.quest_id, old.user_id, null, old.id,
    jsonb_build_object('status', old.status),
    jsonb_build_object('status', case when tg_op = 'UPDATE' then new.status end)
  );

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

  perform integrity.derive_quest(old.quest_id);
  return null;
end
$$;

comment on function integrity.on_participant_ended() is
'Trigger function. When a participant is dropped, deleted or moved away, its approved application becomes kicked and the quest is derived again.';

revoke all on function integrity.on_participant_ended() from public;
