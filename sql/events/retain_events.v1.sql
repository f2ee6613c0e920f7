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
        hint = 'Pass an age such as interval ''24 months'', and 0 or more months; the current month is always kept.';
  end if;

  perform integrity.prepare_event_partitions(months_ahead);

  for dropped in
    select partition.relname
    from pg_inherits as inheritance
    inner join pg_class as partition
      on inheritance.inhrelid = partition.oid
    where
      inheritance.inhparent = 'integrity.event'::regclass
      -- The bound is printed and parsed under the same settings. The default partition has no bound.
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
'Creates the partitions of the coming months, then drops the months of the event log that ended longer ago than the given age. Nothing else removes events. Returns each dropped month and how many events it had, and logs this as events_dropped. Refuses a NULL or negative age.';

revoke all on function integrity.retain_events(interval, integer) from public;
