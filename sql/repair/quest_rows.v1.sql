create or replace function integrity.quest_rows(quests bigint[])
returns table (
  quest_id bigint,
  relation text,
  row_key jsonb,
  content jsonb
)
language plpgsql
-- Volatile, so that it sees what the calling function has just written.
volatile
set search_path = pg_catalog, pg_temp
-- Rows must look the same in every session: an undo compares them with what another session recorded.
set timezone = 'UTC'
set intervalstyle = 'iso_8601'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  reference record;
  app_schema text;
begin
  -- An operator has no rights on the app's rows: operate_rows() reads them as the owner.
  if not has_table_privilege('integrity.repair_item', 'update') then
    return query
    select
      quest_row.quest_id,
      quest_row.relation,
      quest_row.row_key,
      quest_row.content
    from integrity.operate_rows(quests) as quest_row;
    return;
  end if;

  select installation.app_schema
  into strict app_schema
  from integrity.installation as installation;

  return query
  select
    application.quest_id,
    format('%I.applications_application', app_schema),
    jsonb_build_object('id', application.id),
    to_jsonb(application)
  from public.applications_application as application
  where application.quest_id = any(quests);

  return query
  select
    participant.quest_id,
    format('%I.quests_questparticipant', app_schema),
    jsonb_build_object('id', participant.id),
    to_jsonb(participant)
  from public.quests_questparticipant as participant
  where participant.quest_id = any(quests);

  return query
  select
    quest.id,
    format('%I.quests_quest', app_schema),
    jsonb_build_object('id', quest.id),
    to_jsonb(quest)
  from public.quests_quest as quest
  where quest.id = any(quests);

  for reference in
    select
      known.relation,
      known.attribute,
      known.quest_attribute,
      known.row_key
    from integrity.participant_reference as known
  loop
    return query execute format(
      'select participant.quest_id, %L, %s, to_jsonb(referrer)
      from %s as referrer
      inner join public.quests_questparticipant as participant on participant.id = referrer.%I%s
      where participant.quest_id = any($1)',
      reference.relation,
      reference.row_key,
      reference.relation,
      reference.attribute,
      ' and participant.quest_id = referrer.' || quote_ident(reference.quest_attribute)
    )
    using quests;
  end loop;
end
$$;

comment on function integrity.quest_rows(bigint[]) is
'Returns every row that a repair of these quests can change, as jsonb: the quests, their applications and participants, and the rows of any table that reference those participants.';

revoke all on function integrity.quest_rows(bigint[]) from public;
