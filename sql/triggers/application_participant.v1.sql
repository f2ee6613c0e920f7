-- PostgreSQL reads the conditions anew for every statement, in a time that grows with their length: the functions ask
-- the rest.
create or replace trigger integrity_approved_on_insert
after insert on public.applications_application
for each row
when (new.integrity_approved)
execute function integrity.on_application_approved();

create or replace trigger integrity_approved_on_update
after update of status, quest_id, applicant_id, integrity_approved on public.applications_application
for each row
when (new.integrity_approved)
execute function integrity.on_application_approved();

create or replace trigger integrity_ended_on_update
after update of status, quest_id, applicant_id, integrity_approved on public.applications_application
for each row
when (old.integrity_approved)
execute function integrity.on_application_ended();

create or replace trigger integrity_ended_on_delete
after delete on public.applications_application
for each row
when (old.integrity_approved)
execute function integrity.on_application_ended();

comment on trigger integrity_approved_on_insert on public.applications_application is
'Gives an application inserted as approved its participant.';

comment on trigger integrity_approved_on_update on public.applications_application is
'Gives an application that becomes approved, or moves while approved, its participant.';

comment on trigger integrity_ended_on_update on public.applications_application is
'Drops the participant of an application that stops being approved or moves away.';

comment on trigger integrity_ended_on_delete on public.applications_application is
'Drops the participant of an approved application that is deleted.';
