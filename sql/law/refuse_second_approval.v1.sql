create or replace function integrity.refuse_second_approval()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A plan is kept for the session: one made while the tables were small would read all of them for every row.
set enable_seqscan = off
as $$
begin
  if tg_op = 'UPDATE' then
    -- An old duplicate must still be saved unchanged.
    if old.integrity_approved and (old.quest_id, old.applicant_id) = (new.quest_id, new.applicant_id) then
      return null;
    end if;
  end if;

  -- Two transactions that approve for one quest meet here: the second looks when the first has ended.
  perform
  from public.quests_quest
  where id = new.quest_id
  for no key update;

  if exists (
    select
    from public.applications_application
    where
      quest_id = new.quest_id
      and applicant_id = new.applicant_id
      and status = 'approved'
      and id <> new.id
  ) then
    raise exception 'user % has an approved application to quest % already', new.applicant_id, new.quest_id
      using
        errcode = 'unique_violation',
        schema = tg_table_schema,
        table = tg_table_name,
        constraint = 'integrity_approved_application_key',
        hint = 'End the other application first.';
  end if;

  return null;
end
$$;

comment on function integrity.refuse_second_approval() is
'Trigger function. Refuses a second approved application of one user to one quest under the name of the key that forbids it, so that the rule holds for new writes also while old duplicates still keep that key from being built.';

revoke all on function integrity.refuse_second_approval() from public;

create or replace trigger integrity_refuse_second_approval
after insert or update of status, quest_id, applicant_id, integrity_approved on public.applications_application
for each row
when (new.integrity_approved)
execute function integrity.refuse_second_approval();

comment on trigger integrity_refuse_second_approval on public.applications_application is
'Stands in for integrity_approved_application_key while old duplicates keep it from being built: refuses a second approval.';
