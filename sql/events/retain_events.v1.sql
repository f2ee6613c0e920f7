create or replace function integrity.retain_events(
  keep interval,
  months_ahead integer default 12
)
returns table (
  dropped text,
  events bigint
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s'
as $$
declare
  oldest_kept constant timestamptz := now() - keep;
  summary jsonb := jsonb_build_object();
begin
  if oldest_kept is null or oldest_kept > now() or months_ahead is null or months_ahead < 0 then
    raise exception 'cannot keep events for % and prepare % months', coalesce(keep::text, 'NULL'), months_ahead
      using
        errcode = 'invalid_parameter_value',
        hint = 'Give an age, such as interval ''24 months''; the current month always stays.';
  end if;

  perform integrity.prepare_event_partitions(months_ahead);

  for dropped in
    select partition.relname
    from pg_inherits as inheritance
    inner join pg_class as partition
      on inheritance.inhrelid = partition.oid
    where
      inheritance.inhparent = 'integrity.event'::regclass
      -- The bound is printed and read under the same settings; the default partition has none.
      and substring(pg_get_expr(partition.relpartbound, partition.oid), ' TO \(''(.+)''\)$')::timestamptz <= oldest_kept
    order by partition.relname
  loop
    execute format('select count(*) from integrity.%I', dropped)
    into events;
    execute format('drop table integrity.%I', dropped);

    summary := summary || jsonb_build_object(dropped, events);
    return next;
  end loop;

  if summary <> '{}' then
    perform integrity.log_event(
      'events_dropped', null, null, null, null, summary, jsonb_build_object('keep', keep)
    );
  end if;
end
$$;

comment on function integrity.retain_events(interval, integer) is
'The retention of the event log: drops the months that ended longer ago than the given age, the only way an event is ever removed, and prepares coming months. Returns each month dropped and how many events it held; says so in the log itself.';

revoke all on function integrity.retain_events(interval, integer) from public;
