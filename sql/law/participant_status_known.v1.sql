create or replace trigger integrity_participant_status_known
before insert or update of status on public.quests_questparticipant
for each row
when (new.status::text not in ('joined', 'in_progress', 'completed', 'dropped'))
execute function integrity.refuse_unknown_status('integrity_participant_status_known');

comment on trigger integrity_participant_status_known on public.quests_questparticipant is
'Stand-in trigger for the CHECK of the same name while old rows break it. Refuses to write an unknown status, but allows an update that keeps the one of an old row.';
