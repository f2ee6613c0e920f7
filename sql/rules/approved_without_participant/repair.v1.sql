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
  of_quests bigint[];
  ended bigint[];
  created text[];
  joined_quests bigint[];
  joined_users uuid[];
  is_paused boolean;
begin
  if missing not in ('create', 'revoke') then
    raise exception 'missing_participant is %', quote_literal(missing)
      using
        errcode = 'invalid_parameter_value',
        hint = 'Pass create or revoke.';
  end if;

  select
    array_agg(violation.quest_id),
    array_agg(violation.application_id)
  into of_quests, ended
  from integrity.approved_without_participant as violation
  where
    violation.quest_id = any(quests)
    and violation.key = any(keys)
    -- A user who was dropped has left the quest: do not make the participant active again.
    and (violation.repair = 'end_application' or missing = 'revoke');

  select
    array_agg(violation.key),
    array_agg(violation.quest_id),
    array_agg(violation.user_id)
  into created, joined_quests, joined_users
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

  perform integrity.end_applications(of_quests, ended, 'kicked');

  -- What the triggers would do for each row is done for all at once.
  is_paused := integrity.pause_mechanism(true);

  insert into public.quests_questparticipant (
    quest_id,
    user_id,
    status,
    joined_at,
    progress_notes,
    integrity_active
  )
  select distinct
    violation.quest_id,
    violation.user_id,
    'joined',
    now(),
    '',
    true
  from integrity.approved_without_participant as violation
  where
    violation.quest_id = any(quests)
    and violation.key = any(created);

  if is_paused then
    perform integrity.pause_mechanism(false);
    perform integrity.log_events(
      'participant_joined',
      (
        select
          jsonb_agg(
            jsonb_build_object(
              'quest_id', joined.quest_id,
              'user_id', joined.user_id,
              'participant_id', joined.id,
              'before', jsonb_build_object('participant_status', null) || coalesce(derived.before, '{}'),
              'after', jsonb_build_object('participant_status', 'joined') || coalesce(derived.after, '{}')
            )
            order by joined.id
          )
        from (
          select
            participant.id,
            participant.quest_id,
            participant.user_id,
            row_number() over (partition by participant.quest_id order by participant.id) as place
          from public.quests_questparticipant as participant
          where
            participant.quest_id = any(joined_quests)
            and participant.status <> 'dropped'
            and (participant.quest_id, participant.user_id) in (
              select
                pair.quest_id,
                pair.user_id
              from unnest(joined_quests, joined_users) as pair (quest_id, user_id)
            )
        ) as joined
        left join integrity.derive_locked_quests(joined_quests) as derived
          on
            joined.quest_id = derived.quest_id
            -- The first gets the quest.
            and joined.place = 1
      )
    );
  end if;
end
$$;

comment on function integrity.repair_approved_without_participant(bigint[], text[], jsonb) is
'Repair of approved_without_participant: inserts the missing participant or, with missing_participant revoke, sets the application to kicked; without missing_participant, leaves the violations in integrity.unvouched_approval, whose applicants may have left. Sets the application to kicked when the participant is dropped.';

revoke all on function integrity.repair_approved_without_participant(bigint[], text[], jsonb) from public;
