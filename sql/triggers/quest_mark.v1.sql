create or replace trigger integrity_mark
before insert or update of status, assigned_to_id, integrity_assigned on public.quests_quest
for each row
when (new.integrity_assigned is distinct from nullif(new.assigned_to_id is not null, false))
execute function integrity.mark_quest();

comment on trigger integrity_mark on public.quests_quest is
'Keeps the marker integrity_assigned equal to its definition, whatever a write says.';
