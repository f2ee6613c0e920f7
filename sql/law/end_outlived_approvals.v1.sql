create or replace function integrity.end_outlived_approvals()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- Plans are cached for the session: one made while the tables were small would scan all of them for every row.
set enable_seqscan = off
as $$
declare
  outlived bigint[];
begin
  if tg_op = 'UPDATE' then
    -- The row was approved before, for the same quest and applicant.
    if old.status = 'approved' and (old.quest_id, old.applicant_id) = (new.quest_id, new.applicant_id) then
      return new;
    end if;
  end if;

  if coalesce(current_setting('integrity.mechanism', true), '') <> '' and integrity.mechanism_is_off(new.quest_id) then
    return new;
  end if;

  -- age(xmin) is 0 for a row written by this transaction, which is no old row: the key refuses the second approval.
  outlived := array(
    select application.id
    from public.applications_application as application
    where
      application.quest_id = new.quest_id
      and application.applicant_id = new.applicant_id
      and application.status = 'approved'
      and application.id <> new.id
      and age(application.xmin) > 0
      and not exists (
        select
        from public.quests_questparticipant as participant
        where
          participant.quest_id = new.quest_id
          and participant.user_id = new.applicant_id
          and participant.status <> 'dropped'
      )
  );

  if cardinality(outlived) > 0 then
    perform
    from public.quests_quest
    where id = new.quest_id
    for no key update;

    update public.applications_application
    set status = 'kicked'
    where
      quest_id = new.quest_id
      and id = any(outlived)
      and status = 'approved';
  end if;

  return new;
end
$$;

comment on function integrity.end_outlived_approvals() is
'Trigger function. When a user is approved again for a quest, locks the quest and sets older approvals of the user that have no active participant to kicked. Otherwise integrity_approved_application_key would refuse the new approval.';

revoke all on function integrity.end_outlived_approvals() from public;

create or replace trigger integrity_end_outlived
before insert or update of status, quest_id, applicant_id on public.applications_application
for each row
when (new.status = 'approved')
execute function integrity.end_outlived_approvals();

comment on trigger integrity_end_outlived on public.applications_application is
'Stand-in trigger for integrity_approved_application_has_participant while old rows break it. Ends an approval without a participant when its applicant is approved again.';
