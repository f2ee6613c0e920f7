create or replace function integrity.log_events(
  kind text,
  events jsonb
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  event jsonb;
begin
  -- Citus turns INSERT … SELECT into a COPY, which a node cannot retry and whose errors have no SQLSTATE.
  for event in
    select jsonb_array_elements(events)
  loop
    perform integrity.log_event(
      log_events.kind,
      (event ->> 'quest_id')::bigint,
      (event ->> 'user_id')::uuid,
      (event ->> 'application_id')::bigint,
      (event ->> 'participant_id')::bigint,
      nullif(event -> 'before', 'null'),
      nullif(event -> 'after', 'null')
    );
  end loop;
end
$$;

comment on function integrity.log_events(text, jsonb) is
'Appends an event of one kind for each element of an array, in its order, as integrity.log_event() does for one: objects with quest_id, user_id, application_id, participant_id, before and after. NULL and an empty array append none.';

revoke all on function integrity.log_events(text, jsonb) from public;
