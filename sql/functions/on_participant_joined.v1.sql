create or replace function integrity.on_participant_joined()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  quest record;
begin
  -- An approval derives the quest itself. Not asked in WHEN, whose conditions are read anew for every statement.
  if current_setting('integrity.derived_quest', true) = new.quest_id::text then
    return null;
  end if;

  select
    derived.before,
    derived.after
  into quest
  from integrity.derive_quest(new.quest_id) as derived;

  perform integrity.log_event(
    'participant_joined', new.quest_id, new.user_id, null, new.id,
    jsonb_build_object('participant_status', case when tg_op = 'UPDATE' then old.status end)
    || coalesce(quest.before, '{}'),
    jsonb_build_object('participant_status', new.status) || coalesce(quest.after, '{}')
  );
  return null;
end
$$;

comment on function integrity.on_participant_joined() is
'Trigger function. A quest that gains an active participant is derived again. An approval does so itself: who comes in by one is part of its event.';

revoke all on function integrity.on_participant_joined() from public;
