create or replace trigger integrity_review_on_insert
before insert on public.applications_application
for each row
when (new.status = 'approved' and new.reviewed_at is null)
execute function integrity.stamp_review();

create or replace trigger integrity_review_on_update
before update on public.applications_application
for each row
when (new.status = 'approved' and new.reviewed_at is null and old.status is distinct from 'approved')
execute function integrity.stamp_review();

create or replace trigger integrity_approved_on_insert
after insert on public.applications_application
for each row
when (new.status = 'approved')
execute function integrity.on_application_approved();

create or replace trigger integrity_approved_on_update
after update on public.applications_application
for each row
when (
  new.status = 'approved'
  and (
    old.status <> 'approved'
    or (old.quest_id, old.applicant_id) is distinct from (new.quest_id, new.applicant_id)
  )
)
execute function integrity.on_application_approved();

create or replace trigger integrity_ended_on_update
after update on public.applications_application
for each row
when (
  old.status = 'approved'
  and (
    new.status <> 'approved'
    or (old.quest_id, old.applicant_id) is distinct from (new.quest_id, new.applicant_id)
  )
)
execute function integrity.on_application_ended();

create or replace trigger integrity_ended_on_delete
after delete on public.applications_application
for each row
when (old.status = 'approved')
execute function integrity.on_application_ended();

comment on trigger integrity_review_on_insert on public.applications_application is
'Stamps the review time of an application inserted as approved.';

comment on trigger integrity_review_on_update on public.applications_application is
'Stamps the review time of an application that becomes approved.';

comment on trigger integrity_approved_on_insert on public.applications_application is
'Gives an application inserted as approved its participant.';

comment on trigger integrity_approved_on_update on public.applications_application is
'Gives an application that becomes approved, or moves while approved, its participant.';

comment on trigger integrity_ended_on_update on public.applications_application is
'Drops the participant of an application that stops being approved or moves away.';

comment on trigger integrity_ended_on_delete on public.applications_application is
'Drops the participant of an approved application that is deleted.';
