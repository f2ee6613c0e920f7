create or replace function integrity.refuse_event_change()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'integrity.event is append-only: % refused', lower(tg_op)
    using
      errcode = 'restrict_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'integrity_event_append_only',
      hint = 'Old months are dropped whole by integrity.retain_events().';
end
$$;

comment on function integrity.refuse_event_change() is
'Trigger function. Refuses UPDATE, DELETE and TRUNCATE of the event log, for its owner too.';

revoke all on function integrity.refuse_event_change() from public;
