create or replace trigger integrity_append_only
before update or delete on integrity.event
for each row
execute function integrity.refuse_event_change();

create or replace trigger integrity_append_only_truncate
before truncate on integrity.event
for each statement
execute function integrity.refuse_event_change();

-- Also under session_replication_role = replica, which silences ordinary triggers. Partitions inherit this.
alter table integrity.event enable always trigger integrity_append_only;
alter table integrity.event enable always trigger integrity_append_only_truncate;

comment on trigger integrity_append_only on integrity.event is
'Refuses to change or delete an event.';

comment on trigger integrity_append_only_truncate on integrity.event is
'Refuses to empty the event log.';
