create or replace function integrity.repair_participant_without_approval(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  answer constant text := options ->> 'unapproved';
  violation record;
begin
  if (answer in ('approve', 'drop')) is not true then
    raise exception 'unapproved is %', coalesce(quote_literal(answer), 'missing')
      using
        errcode = 'invalid_parameter_value',
        hint = 'Pass approve or drop.';
  end if;

  if answer = 'drop' then
    update public.quests_questparticipant as participant
    set status = 'dropped'
    from integrity.participant_without_approval as unapproved
    where
      unapproved.quest_id = any(quests)
      and unapproved.key = any(keys)
      and participant.id = unapproved.participant_id
      and participant.quest_id = unapproved.quest_id;
    return;
  end if;

  for violation in
    select
      unapproved.quest_id,
      unapproved.user_id
    from integrity.participant_without_approval as unapproved
    where
      unapproved.quest_id = any(quests)
      and unapproved.key = any(keys)
    order by
      unapproved.quest_id,
      unapproved.user_id
  loop
    -- Who has asked already gets this answer.
    update public.applications_application as application
    set status = 'approved'
    where
      application.quest_id = violation.quest_id
      and application.id = (
        select min(pending.id)
        from public.applications_application as pending
        where
          pending.quest_id = violation.quest_id
          and pending.applicant_id = violation.user_id
          and pending.status = 'pending'
      );

    if not found then
      perform integrity.insert_application(violation.quest_id, violation.user_id);
    end if;
  end loop;
end
$$;

comment on function integrity.repair_participant_without_approval(bigint[], text[], jsonb) is
'Repair of participant_without_approval, on request only: with unapproved approve, approves the user''s pending application, or inserts an approved one; with unapproved drop, sets the participant to dropped.';

revoke all on function integrity.repair_participant_without_approval(bigint[], text[], jsonb) from public;
