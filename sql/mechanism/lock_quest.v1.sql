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
'Trigger function. Locks the quest before a participant is inserted, so that two writers of one quest queue on the quest and not on each other''s rows.';

revoke all on function integrity.lock_quest() from public;

create or replace trigger integrity_lock_quest
before insert on public.quests_questparticipant
for each row
-- Comes before integrity_mark, in alphabetical order. An approval marks what it inserts, and has locked the quest.
when (new.integrity_active is null)
execute function integrity.lock_quest();

comment on trigger integrity_lock_quest on public.quests_questparticipant is
'Locks the quest before a participant is inserted.';
