create or replace trigger integrity_mark
before insert or update of status, integrity_approved on public.applications_application
for each row
when (new.integrity_approved is distinct from nullif(new.status = 'approved', false))
execute function integrity.mark_application();

comment on trigger integrity_mark on public.applications_application is
'Keeps the marker integrity_approved equal to its definition, whatever a write says.';
