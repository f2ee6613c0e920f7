create or replace trigger integrity_participant_status_known
before insert or update of status on public.quests_questparticipant
for each row
when (new.status::text not in ('joined', 'in_progress', 'completed', 'dropped'))
execute function integrity.refuse_unknown_status('integrity_participant_status_known');

comment on trigger integrity_participant_status_known on public.quests_questparticipant is
'Stands in for the CHECK of the same name while old rows keep it from being attached: refuses to write an unknown status, but not to save a row that has one already.';
