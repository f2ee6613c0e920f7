-- Without WHEN: PostgreSQL reads its condition anew for every statement, which takes longer than to call the function.
create or replace trigger integrity_mark
before insert or update of status, integrity_approved on public.applications_application
for each row
execute function integrity.mark_application();

comment on trigger integrity_mark on public.applications_application is
'Keeps the marker integrity_approved equal to its definition, whatever a write says.';
