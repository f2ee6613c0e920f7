create or replace function integrity.protect_event_partition(partition_name text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A partition inherits row triggers, but not the statement trigger against TRUNCATE.
  execute format(
    'create trigger integrity_append_only_truncate before truncate on integrity.%I
    for each statement execute function integrity.refuse_event_change()',
    partition_name
  );
  execute format('alter table integrity.%I enable always trigger integrity_append_only_truncate', partition_name);
  -- Without a primary key only this lets logical replication copy it, by which Citus moves shards. No event is changed.
  execute format('alter table integrity.%I replica identity full', partition_name);
  execute format('revoke all on integrity.%I from public', partition_name);
end
$$;

comment on function integrity.protect_event_partition(text) is
'Makes a new partition of the event log refuse TRUNCATE, and revokes all rights on it from PUBLIC.';

revoke all on function integrity.protect_event_partition(text) from public;
