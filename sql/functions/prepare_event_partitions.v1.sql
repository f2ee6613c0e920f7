create or replace function integrity.prepare_event_partitions(months_ahead integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  first_day timestamptz;
  partition_name text;
  created integer := 0;
begin
  if to_regclass('integrity.event_default') is null then
    -- A month that nobody prepared must not make an approval fail.
    create table integrity.event_default partition of integrity.event default;
    create trigger integrity_append_only_truncate
    before truncate on integrity.event_default
    for each statement
    execute function integrity.refuse_event_change();
    revoke all on integrity.event_default from public;
    created := created + 1;
  end if;

  for first_day in
    select month.first_day at time zone 'UTC'
    from generate_series(
      date_trunc('month', now() at time zone 'UTC'),
      date_trunc('month', now() at time zone 'UTC') + make_interval(months => months_ahead),
      interval '1 month'
    ) as month (first_day)
  loop
    partition_name := 'event_' || to_char(first_day at time zone 'UTC', 'YYYY_MM');
    continue when to_regclass(format('integrity.%I', partition_name)) is not null;

    execute format(
      'create table integrity.%I partition of integrity.event for values from (%L) to (%L)',
      partition_name,
      first_day,
      ((first_day at time zone 'UTC') + interval '1 month') at time zone 'UTC'
    );
    execute format(
      'create trigger integrity_append_only_truncate before truncate on integrity.%I
      for each statement execute function integrity.refuse_event_change()',
      partition_name
    );
    execute format('revoke all on integrity.%I from public', partition_name);
    created := created + 1;
  end loop;

  return created;
end
$$;

comment on function integrity.prepare_event_partitions(integer) is
'Creates the event log''s partitions, by UTC month, for this month and the given number of months ahead, and the default one. Returns how many it created.';

revoke all on function integrity.prepare_event_partitions(integer) from public;
