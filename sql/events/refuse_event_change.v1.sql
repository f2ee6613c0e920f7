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
      hint = 'To drop old months, call integrity.retain_events().';
end
$$;

comment on function integrity.refuse_event_change() is
'Trigger function. Refuses UPDATE, DELETE and TRUNCATE of the event log, also for its owner.';

revoke all on function integrity.refuse_event_change() from public;

create or replace trigger integrity_append_only
before update or delete on integrity.event
for each row
execute function integrity.refuse_event_change();

create or replace trigger integrity_append_only_truncate
before truncate on integrity.event
for each statement
execute function integrity.refuse_event_change();

-- ALWAYS: fires under session_replication_role = replica too. Partitions inherit it.
alter table integrity.event enable always trigger integrity_append_only;

alter table integrity.event enable always trigger integrity_append_only_truncate;

comment on trigger integrity_append_only on integrity.event is
'Refuses UPDATE and DELETE of events.';

comment on trigger integrity_append_only_truncate on integrity.event is
'Refuses TRUNCATE of the event log.';
