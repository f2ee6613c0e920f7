create or replace function integrity.log_events(
  kind text,
  events jsonb
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into integrity.event (
    kind,
    quest_id,
    user_id,
    application_id,
    participant_id,
    before,
    after,
    actor,
    application_name
  )
  select
    log_events.kind,
    listed.quest_id,
    listed.user_id,
    listed.application_id,
    listed.participant_id,
    listed.before,
    listed.after,
    coalesce(nullif(current_setting('integrity.actor', true), ''), session_user),
    current_setting('application_name')
  from
    jsonb_to_recordset(events) as listed (
      quest_id bigint, user_id uuid, application_id bigint, participant_id bigint, before jsonb, after jsonb
    );
end
$$;

comment on function integrity.log_events(text, jsonb) is
'Appends an event of one kind for each element of an array, in its order, as integrity.log_event() does for one: objects with quest_id, user_id, application_id, participant_id, before and after. NULL and an empty array append none.';

revoke all on function integrity.log_events(text, jsonb) from public;
