create or replace trigger integrity_status_inserted
before insert on public.quests_quest
for each row
when (new.status not in ('open', 'in-progress', 'completed'))
execute function integrity.refuse_unknown_status('integrity_quest_status_known');

create or replace trigger integrity_status_updated
before update of status on public.quests_quest
for each row
when (new.status not in ('open', 'in-progress', 'completed') and new.status is distinct from old.status)
execute function integrity.refuse_unknown_status('integrity_quest_status_known');

comment on trigger integrity_status_inserted on public.quests_quest is
'Refuses a new row with an unknown status.';

comment on trigger integrity_status_updated on public.quests_quest is
'Refuses a change to an unknown status; a row that already has one can still be saved unchanged.';
