create or replace trigger integrity_lock_quest
before insert on public.quests_questparticipant
for each row
-- Comes before integrity_mark, in alphabetical order. An approval marks what it inserts, and has locked the quest.
when (new.integrity_active is null)
execute function integrity.lock_quest();

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

comment on trigger integrity_lock_quest on public.quests_questparticipant is
'Locks the quest before a participant is inserted.';

comment on trigger integrity_joined_on_insert on public.quests_questparticipant is
'Derives the quest when an active participant is inserted.';

comment on trigger integrity_joined_on_update on public.quests_questparticipant is
'Derives the quest when a dropped participant returns or one is moved here.';

comment on trigger integrity_ended_on_update on public.quests_questparticipant is
'Ends the approved application and derives the quest when a participant is dropped or moved away.';

comment on trigger integrity_ended_on_delete on public.quests_questparticipant is
'Ends the approved application and derives the quest when a participant is deleted.';
