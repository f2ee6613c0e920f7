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
  listed record;
begin
  -- Citus turns INSERT … SELECT into a COPY, which a node cannot retry and whose errors have no SQLSTATE.
  for listed in
    select *
    from
      jsonb_to_recordset(events) as each_one (
        quest_id bigint, user_id uuid, application_id bigint, participant_id bigint, before jsonb, after jsonb
      )
  loop
    perform integrity.log_event(
      log_events.kind, listed.quest_id, listed.user_id, listed.application_id, listed.participant_id,
      listed.before, listed.after
    );
  end loop;
end
$$;

comment on function integrity.log_events(text, jsonb) is
'Appends an event of one kind for each element of an array, in its order, as integrity.log_event() does for one: objects with quest_id, user_id, application_id, participant_id, before and after. NULL and an empty array append none.';

revoke all on function integrity.log_events(text, jsonb) from public;
