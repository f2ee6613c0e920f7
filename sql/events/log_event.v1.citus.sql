create or replace function integrity.log_event(
  kind text,
  quest_id bigint,
  user_id uuid,
  application_id bigint,
  participant_id bigint,
  before jsonb,
  after jsonb
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- PL/pgSQL, since PostgreSQL before version 18 plans a function in SQL at each call.
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
  values (
    log_event.kind,
    -- Every row is kept by its quest: what concerns none is of quest 0.
    coalesce(log_event.quest_id, 0),
    log_event.user_id,
    log_event.application_id,
    log_event.participant_id,
    log_event.before,
    log_event.after,
    coalesce(nullif(current_setting('integrity.actor', true), ''), session_user),
    -- Between nodes Citus sets application_name itself.
    coalesce(nullif(current_setting('integrity.application_name', true), ''), current_setting('application_name'))
  );
  return true;
end
$$;

comment on function integrity.log_event(text, bigint, uuid, bigint, bigint, jsonb, jsonb) is
'Appends one event in the caller''s transaction and returns true. The actor is the setting integrity.actor if the app sets it, else the session user; the client is integrity.application_name if it sets that, else the application_name of Citus.';

revoke all on function integrity.log_event(text, bigint, uuid, bigint, bigint, jsonb, jsonb) from public;
