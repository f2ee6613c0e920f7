create or replace function integrity.on_participant_joined()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  quest record;
begin
  -- Foreign keys are checked at COMMIT by plans that the session keeps. Those made for a table of a few rows read all
  -- of it: an import into new tables would take a time that grows with the square of its rows.
  if new.id % 512 = 0 then
    discard plans;
  end if;

  -- An approval derives the quest and logs the event itself. Not in WHEN: PostgreSQL reads its condition again for
  -- every statement.
  if current_setting('integrity.derived_quest', true) = new.quest_id::text then
    return null;
  end if;

  if coalesce(current_setting('integrity.mechanism', true), '') <> '' and integrity.mechanism_is_off(new.quest_id) then
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
'Trigger function. When a quest gains an active participant, locks and derives the quest and logs the event. Does nothing of this inside an approval, which does so itself. At every 512th id it lets the session plan anew, for the table as it has become.';

revoke all on function integrity.on_participant_joined() from public;

create or replace trigger integrity_joined_on_insert
after insert on public.quests_questparticipant
for each row
when (new.integrity_active)
execute function integrity.on_participant_joined();

create or replace trigger integrity_joined_on_update
after update of status, quest_id, user_id, integrity_active on public.quests_questparticipant
for each row
when (
  new.integrity_active
  and (
    old.integrity_active is null
    or new.quest_id <> old.quest_id
    or new.user_id <> old.user_id
  )
)
execute function integrity.on_participant_joined();

comment on trigger integrity_joined_on_insert on public.quests_questparticipant is
'Derives the quest when an active participant is inserted.';

comment on trigger integrity_joined_on_update on public.quests_questparticipant is
'Derives the quest when a dropped participant becomes active again or an active one moves to it.';
