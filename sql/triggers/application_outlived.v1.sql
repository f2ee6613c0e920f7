create or replace trigger integrity_end_outlived
before insert or update of status, quest_id, applicant_id on public.applications_application
for each row
when (new.status = 'approved')
execute function integrity.end_outlived_approvals();

comment on trigger integrity_end_outlived on public.applications_application is
'Stands in for integrity_approved_application_has_participant while old rows break it: ends an approval without a participant when its applicant is approved again.';
