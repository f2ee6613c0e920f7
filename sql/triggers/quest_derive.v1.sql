-- The update has no WHEN: PostgreSQL reads its condition anew for every statement, which takes longer than to call the
-- function, which asks the same.
create or replace trigger integrity_derive_on_insert
before insert on public.quests_quest
for each row
when (
  new.assigned_to_id is not null
  or new.status = 'in-progress'
)
execute function integrity.on_quest_write();

create or replace trigger integrity_derive_on_update
before update of status, assigned_to_id on public.quests_quest
for each row
execute function integrity.on_quest_write();

comment on trigger integrity_derive_on_insert on public.quests_quest is
'Derives a new quest that claims to be assigned or in progress.';

comment on trigger integrity_derive_on_update on public.quests_quest is
'Derives a quest whose status or assignee changes.';
