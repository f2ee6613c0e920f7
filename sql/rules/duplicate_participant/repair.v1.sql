create or replace function integrity.repair_duplicate_participant(
  quests bigint[],
  keys text[],
  options jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  reference record;
  of_quests bigint[];
  of_users uuid[];
  ids bigint[];
  statuses text[];
  kept bigint[];
  is_paused boolean;
  ended_quests bigint[];
  ended bigint[];
begin
  -- Each row that goes, with the one that stays.
  select
    array_agg(ranked.quest_id),
    array_agg(ranked.user_id),
    array_agg(ranked.id),
    array_agg(ranked.status),
    array_agg(ranked.kept)
  into of_quests, of_users, ids, statuses, kept
  from (
    select
      participant.quest_id,
      participant.user_id,
      participant.id,
      participant.status::text as status,
      first_value(participant.id) over (
        partition by
          participant.quest_id,
          participant.user_id
        order by
          -- An unknown status counts as active.
          participant.status = 'dropped',
          array_position(array['completed', 'in_progress', 'joined'], participant.status::text),
          participant.joined_at,
          participant.id
      ) as kept
    from integrity.duplicate_participant as violation
    inner join public.quests_questparticipant as participant
      on
        violation.quest_id = participant.quest_id
        and violation.user_id = participant.user_id
    where
      violation.quest_id = any(quests)
      and violation.key = any(keys)
  ) as ranked
  where ranked.id <> ranked.kept;

  for reference in
    select
      known.relation,
      known.attribute,
      known.quest_attribute
    from integrity.participant_reference as known
  loop
    execute format(
      'update %1$s as referrer set %2$I = duplicate.kept'
      || ' from unnest($1, $2, $3) as duplicate (quest_id, id, kept) where referrer.%2$I = duplicate.id'
      || coalesce(' and referrer.' || quote_ident(reference.quest_attribute) || ' = duplicate.quest_id', ''),
      reference.relation,
      reference.attribute
    )
    using of_quests, ids, kept;
  end loop;

  -- What the triggers would do for each row is done for all at once.
  is_paused := integrity.pause_mechanism(true);

  delete from public.quests_questparticipant as participant
  using unnest(of_quests, ids) as duplicate (quest_id, id)
  where
    participant.quest_id = duplicate.quest_id
    and participant.id = duplicate.id;

  if is_paused then
    perform integrity.pause_mechanism(false);

    -- Where nobody is active, the approval ends.
    select
      array_agg(application.quest_id),
      array_agg(application.id)
    into ended_quests, ended
    from public.applications_application as application
    inner join public.quests_questparticipant as participant
      on
        application.quest_id = participant.quest_id
        and application.applicant_id = participant.user_id
    where
      application.quest_id = any(of_quests)
      and application.status = 'approved'
      and participant.id = any(kept)
      and participant.status = 'dropped';

    perform integrity.end_applications(ended_quests, ended, 'kicked');
    perform integrity.log_events(
      'participant_dropped',
      (
        select
          jsonb_agg(
            jsonb_build_object(
              'quest_id', dropped.quest_id,
              'user_id', dropped.user_id,
              'participant_id', dropped.id,
              'before', jsonb_build_object('participant_status', dropped.status) || coalesce(derived.before, '{}'),
              'after', jsonb_build_object('participant_status', null) || coalesce(derived.after, '{}')
            )
            order by dropped.id
          )
        from (
          select
            duplicate.*,
            row_number() over (partition by duplicate.quest_id order by duplicate.id) as place
          from unnest(of_quests, of_users, ids, statuses) as duplicate (quest_id, user_id, id, status)
        ) as dropped
        left join integrity.derive_locked_quests(of_quests) as derived
          on
            dropped.quest_id = derived.quest_id
            -- The first gets the quest.
            and dropped.place = 1
      )
    );
  end if;
end
$$;

comment on function integrity.repair_duplicate_participant(bigint[], text[], jsonb) is
'Repair of duplicate_participant: keeps the participant that got furthest (completed, in_progress, joined, dropped), then the earliest; updates foreign keys of other tables from the others to it, then deletes the others. The repair run records the deleted rows.';

revoke all on function integrity.repair_duplicate_participant(bigint[], text[], jsonb) from public;
