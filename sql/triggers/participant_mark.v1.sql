-- Without WHEN: PostgreSQL reads its condition anew for every statement, which takes longer than to call the function.
create or replace trigger integrity_mark
before insert or update of status, integrity_active on public.quests_questparticipant
for each row
execute function integrity.mark_participant();

comment on trigger integrity_mark on public.quests_questparticipant is
'Keeps the marker integrity_active equal to its definition, whatever a write says.';
