create or replace function integrity.refuse_second_approval()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- Plans are cached for the session: one made while the tables were small would scan all of them for every row.
set enable_seqscan = off
as $$
begin
  if tg_op = 'UPDATE' then
    -- Allow an update that keeps an old duplicate.
    if old.integrity_approved and (old.quest_id, old.applicant_id) = (new.quest_id, new.applicant_id) then
      return null;
    end if;
  end if;

  -- Serializes approvals for one quest: the second transaction waits here until the first has ended.
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
'Trigger function. Locks the quest, then refuses a second approved application of one user to it. Raises the error of integrity_approved_application_key, which old duplicates keep from being built.';

revoke all on function integrity.refuse_second_approval() from public;

create or replace trigger integrity_refuse_second_approval
after insert or update of status, quest_id, applicant_id, integrity_approved on public.applications_application
for each row
when (new.integrity_approved)
execute function integrity.refuse_second_approval();

comment on trigger integrity_refuse_second_approval on public.applications_application is
'Stand-in trigger for integrity_approved_application_key while old duplicates keep it from being built. Refuses a second approval.';
