create or replace function integrity.prepare_event_partitions(months_ahead integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- Creating a partition locks the whole log: rather give up than let approvals queue behind a long transaction.
set lock_timeout = '3s'
as $$
declare
  this_month constant timestamp not null := date_trunc('month', now() at time zone 'UTC');
  months timestamp[];
  first_day timestamp;
  partition_name text;
  created integer := 0;
begin
  -- Others that prepare or retain wait here; readers and writers of the log do not.
  lock table integrity.event in share update exclusive mode;

  select array_agg(this_month + make_interval(months => ahead))
  into months
  from generate_series(0, months_ahead) as ahead;

  if to_regclass('integrity.event_default') is not null then
    perform
    from integrity.event_default
    limit 1;

    if found then
      -- A month whose rows wait in the default partition cannot get its own, and nothing may delete them there:
      -- the whole partition makes way, its rows go where they belong, then it is dropped.
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
    -- A month that nobody prepared must not make an approval fail.
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
'Creates the event log''s partitions, by UTC month, for this month, the given number of months ahead and every month whose rows wait in the default partition, which it empties. Returns how many it created.';

revoke all on function integrity.prepare_event_partitions(integer) from public;
