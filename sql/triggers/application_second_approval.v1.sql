create or replace trigger integrity_refuse_second_approval
after insert or update of status, quest_id, applicant_id, integrity_approved on public.applications_application
for each row
when (new.integrity_approved)
execute function integrity.refuse_second_approval();

comment on trigger integrity_refuse_second_approval on public.applications_application is
'Stands in for integrity_approved_application_key while old duplicates keep it from being built: refuses a second approval.';
