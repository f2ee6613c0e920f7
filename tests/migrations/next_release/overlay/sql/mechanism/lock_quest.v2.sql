create or replace function integrity.lock_quest()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
  from public.quests_quest
  where id = new.quest_id
  for no key update;

  return new;
end
$$;

comment on function integrity.lock_quest() is
'Trigger function. Locks the quest before a participant is inserted or moves to another quest, so that concurrent writers of one quest wait for the quest and not for each other''s rows.';

revoke all on function integrity.lock_quest() from public;

create or replace trigger integrity_lock_quest
before insert on public.quests_questparticipant
for each row
-- Fires before integrity_mark, by alphabetical order. An approval has locked the quest and sets the marker itself.
when (new.integrity_active is null)
execute function integrity.lock_quest();

comment on trigger integrity_lock_quest on public.quests_questparticipant is
'Locks the quest before a participant is inserted.';

create or replace trigger integrity_lock_quest_on_move
before update of quest_id on public.quests_questparticipant
for each row
when (new.quest_id <> old.quest_id)
execute function integrity.lock_quest();

comment on trigger integrity_lock_quest_on_move on public.quests_questparticipant is
'Locks the quest that a participant moves to.';
