create or replace trigger integrity_status_inserted
before insert on public.quests_questparticipant
for each row
when (new.status not in ('joined', 'in_progress', 'completed', 'dropped'))
execute function integrity.refuse_unknown_status('integrity_participant_status_known');

create or replace trigger integrity_status_updated
before update of status on public.quests_questparticipant
for each row
when (new.status not in ('joined', 'in_progress', 'completed', 'dropped') and new.status is distinct from old.status)
execute function integrity.refuse_unknown_status('integrity_participant_status_known');

comment on trigger integrity_status_inserted on public.quests_questparticipant is
'Refuses a new row with an unknown status.';

comment on trigger integrity_status_updated on public.quests_questparticipant is
'Refuses a change to an unknown status; a row that already has one can still be saved unchanged.';
