create or replace function integrity.quest_rows(quests bigint[])
returns table (
  relation text,
  row_key jsonb,
  content jsonb
)
language plpgsql
-- Volatile, so that it sees what the calling function has just written.
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  reference record;
begin
  return query
  select
    'applications_application',
    jsonb_build_object('id', application.id),
    to_jsonb(application)
  from public.applications_application as application
  where application.quest_id = any(quests);

  return query
  select
    'quests_questparticipant',
    jsonb_build_object('id', participant.id),
    to_jsonb(participant)
  from public.quests_questparticipant as participant
  where participant.quest_id = any(quests);

  return query
  select
    'quests_quest',
    jsonb_build_object('id', quest.id),
    to_jsonb(quest)
  from public.quests_quest as quest
  where quest.id = any(quests);

  for reference in select * from integrity.participant_reference loop
    return query execute format(
      'select %L, %s, to_jsonb(referrer)
      from %s as referrer
      where referrer.%I in (
        select participant.id from public.quests_questparticipant as participant where participant.quest_id = any($1)
      )',
      reference.relation,
      reference.row_key,
      reference.relation,
      reference.attribute
    )
    using quests;
  end loop;
end
$$;

comment on function integrity.quest_rows(bigint[]) is
'Every row that a repair of these quests can change: the quests, their applications and participants, and rows of any table that reference those participants.';

revoke all on function integrity.quest_rows(bigint[]) from public;
