create or replace trigger integrity_status_inserted
before insert on public.applications_application
for each row
when (new.status not in ('pending', 'approved', 'rejected', 'kicked'))
execute function integrity.refuse_unknown_status('integrity_application_status_known');

create or replace trigger integrity_status_updated
before update of status on public.applications_application
for each row
when (new.status not in ('pending', 'approved', 'rejected', 'kicked') and new.status is distinct from old.status)
execute function integrity.refuse_unknown_status('integrity_application_status_known');

comment on trigger integrity_status_inserted on public.applications_application is
'Refuses a new row with an unknown status.';

comment on trigger integrity_status_updated on public.applications_application is
'Refuses a change to an unknown status; a row that already has one can still be saved unchanged.';
