create or replace trigger integrity_heal
before update on public.quests_quest
for each row
when (new.status::text in ('open', 'in-progress') and (new.status = 'in-progress') <> (new.assigned_to_id is not null))
-- With an argument the function derives also when the write changes neither status nor assignee.
execute function integrity.on_quest_write('always');

comment on trigger integrity_heal on public.quests_quest is
'Stand-in trigger for integrity_status_matches_assignment while old rows break it. Derives such a quest when it is updated, since the CHECK would refuse the update.';
