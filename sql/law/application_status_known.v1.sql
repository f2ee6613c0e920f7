create or replace trigger integrity_application_status_known
before insert or update of status on public.applications_application
for each row
when (new.status::text not in ('pending', 'approved', 'rejected', 'kicked'))
execute function integrity.refuse_unknown_status('integrity_application_status_known');

comment on trigger integrity_application_status_known on public.applications_application is
'Stand-in trigger for the CHECK of the same name while old rows break it. Refuses to write an unknown status, but allows an update that keeps the one of an old row.';
