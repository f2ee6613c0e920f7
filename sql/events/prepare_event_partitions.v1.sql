create or replace function integrity.prepare_event_partitions(months_ahead integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- Creating a partition locks the whole log: fail rather than let approvals queue behind a long transaction.
set lock_timeout = '3s'
as $$
declare
  this_month constant timestamp not null := date_trunc('month', now() at time zone 'UTC');
  months timestamp[];
  first_day timestamp;
  partition_name text;
  created integer := 0;
begin
  -- Concurrent calls of this function and of retain_events() wait here; readers and writers of the log do not.
  lock table integrity.event in share update exclusive mode;

  select array_agg(this_month + make_interval(months => ahead))
  into months
  from generate_series(0, months_ahead) as ahead;

  if to_regclass('integrity.event_default') is not null then
    perform
    from integrity.event_default
    limit 1;

    if found then
      -- A month with rows in the default partition cannot get a partition of its own, and these rows cannot be deleted:
      -- detach the default partition, copy its rows to the new partitions, then drop it.
      lock table integrity.event in access exclusive mode;
      alter table integrity.event detach partition integrity.event_default;
      alter table integrity.event_default rename to event_waiting;

      select array_agg(distinct month)
      into months
      from (
        select unnest(months)
        union
        select date_trunc('month', waiting.at at time zone 'UTC')
        from integrity.event_waiting as waiting
      ) as needed (month);
    end if;
  end if;

  if to_regclass('integrity.event_default') is null then
    -- Without it an approval would fail in a month that has no partition.
    create table integrity.event_default partition of integrity.event default;
    perform integrity.protect_event_partition('event_default');
    created := created + 1;
  end if;

  foreach first_day in array months loop
    partition_name := to_char(first_day, '"event_"YYYY_MM');
    continue when to_regclass(format('integrity.%I', partition_name)) is not null;

    execute format(
      'create table integrity.%I partition of integrity.event for values from (%L) to (%L)',
      partition_name,
      first_day at time zone 'UTC',
      (first_day + interval '1 month') at time zone 'UTC'
    );
    perform integrity.protect_event_partition(partition_name);
    created := created + 1;
  end loop;

  if to_regclass('integrity.event_waiting') is not null then
    insert into integrity.event (
      id,
      at,
      transaction,
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
    overriding system value
    select
      waiting.id,
      waiting.at,
      waiting.transaction,
      waiting.kind,
      waiting.quest_id,
      waiting.user_id,
      waiting.application_id,
      waiting.participant_id,
      waiting.before,
      waiting.after,
      waiting.actor,
      waiting.application_name
    from integrity.event_waiting as waiting;

    drop table integrity.event_waiting;
  end if;

  return created;
end
$$;

comment on function integrity.prepare_event_partitions(integer) is
'Creates the partitions of the event log, one per UTC month: for this month, for the given number of months ahead and for each month with rows in the default partition, which it empties. Returns how many partitions it created. Fails when it has to wait for a lock for more than 3 seconds.';

revoke all on function integrity.prepare_event_partitions(integer) from public;
