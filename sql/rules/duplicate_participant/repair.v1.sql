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
  pair record;
  reference record;
begin
  for pair in
    select
      violation.quest_id,
      array_agg(
        participant.id
        order by
          -- An unknown status counts as active.
          participant.status = 'dropped',
          array_position(array['completed', 'in_progress', 'joined'], participant.status::text),
          participant.joined_at,
          participant.id
      ) as ids
    from integrity.duplicate_participant as violation
    inner join public.quests_questparticipant as participant
      on
        violation.quest_id = participant.quest_id
        and violation.user_id = participant.user_id
    where
      violation.quest_id = any(quests)
      and violation.key = any(keys)
    group by
      violation.key,
      violation.quest_id
  loop
    for reference in
      select
        known.relation,
        known.attribute,
        known.quest_attribute
      from integrity.participant_reference as known
    loop
      execute format(
        'update %s set %I = $1 where %I = any($2)'
        || coalesce(' and ' || quote_ident(reference.quest_attribute) || ' = $3', ''),
        reference.relation,
        reference.attribute,
        reference.attribute
      )
      using pair.ids[1], pair.ids[2:], pair.quest_id;
    end loop;

    delete from public.quests_questparticipant as participant
    where
      participant.quest_id = pair.quest_id
      and participant.id = any(pair.ids[2:]);
  end loop;
end
$$;

comment on function integrity.repair_duplicate_participant(bigint[], text[], jsonb) is
'Repair of duplicate_participant: keeps the participant that got furthest (completed, in_progress, joined, dropped), then the earliest; updates foreign keys of other tables from the others to it, then deletes the others. The repair run records the deleted rows.';

revoke all on function integrity.repair_duplicate_participant(bigint[], text[], jsonb) from public;
