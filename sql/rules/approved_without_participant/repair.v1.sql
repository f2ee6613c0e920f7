create or replace function integrity.repair_approved_without_participant(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  missing constant text := options ->> 'missing_participant';
begin
  if missing not in ('create', 'revoke') then
    raise exception 'missing_participant is %', quote_literal(missing)
      using
        errcode = 'invalid_parameter_value',
        hint = 'Pass create or revoke.';
  end if;

  -- A user who was dropped has left the quest: do not make the participant active again.
  update public.applications_application as application
  set status = 'kicked'
  from integrity.approved_without_participant as violation
  where
    violation.quest_id = any(quests)
    and violation.key = any(keys)
    and (violation.repair = 'end_application' or missing = 'revoke')
    and application.quest_id = violation.quest_id
    and application.id = violation.application_id;

  insert into public.quests_questparticipant (
    quest_id,
    user_id,
    status,
    joined_at,
    progress_notes
  )
  select distinct
    violation.quest_id,
    violation.user_id,
    'joined',
    now(),
    ''
  from integrity.approved_without_participant as violation
  where
    violation.quest_id = any(quests)
    and violation.key = any(keys)
    and violation.repair = 'create_participant'
    and missing is distinct from 'revoke'
    -- Nobody is put back who may have left, unless a person says so.
    and (
      missing = 'create'
      or not exists (
        select
        from integrity.unvouched_approval as unvouched
        where
          unvouched.quest_id = violation.quest_id
          and unvouched.key = violation.key
      )
    );
end
$$;

comment on function integrity.repair_approved_without_participant(bigint[], text[], jsonb) is
'Repair of approved_without_participant: inserts the missing participant or, with missing_participant revoke, sets the application to kicked; without missing_participant, leaves the violations in integrity.unvouched_approval, whose applicants may have left. Sets the application to kicked when the participant is dropped.';

revoke all on function integrity.repair_approved_without_participant(bigint[], text[], jsonb) from public;
