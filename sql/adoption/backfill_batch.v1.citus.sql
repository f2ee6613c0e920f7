create or replace function integrity.backfill_batch(
  of_relation text,
  batch integer
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  task record;
  upper_id bigint;
  marked bigint;
  failed text;
begin
  select
    backfill.marker,
    backfill.condition,
    backfill.last_id,
    format('%I.%I', installation.app_schema, backfill.relation) as relation
  into strict task
  from integrity.backfill as backfill
  cross join integrity.installation as installation
  where backfill.relation = of_relation;

  execute format(
    'select max(id) from (select id from %s where id > $1 order by id limit $2) as range',
    task.relation
  )
  into upper_id
  using task.last_id, batch;

  if upper_id is null then
    return null;
  end if;

  -- Skips rows that a client has locked; backfill_sweep() marks them. Each shard does so in a transaction of its own,
  -- since Citus locks no rows of several by one statement.
  select
    sum(substring(answer.result from '^UPDATE ([0-9]+)$')::bigint),
    string_agg(answer.result, ', ') filter (where not answer.success)
  into marked, failed
  from run_command_on_shards(
    task.relation,
    format(
      'update %%1$s
      set %1$I = true
      where ctid = any(array(
        select ctid
        from %%1$s
        where id > %2$s and id <= %3$s and %1$I is null and (%4$s)
        for no key update skip locked
      ))',
      task.marker,
      task.last_id,
      upper_id,
      task.condition
    )
  ) as answer;

  if failed is not null then
    raise exception 'the markers of % cannot be set: %', task.relation, failed;
  end if;

  update integrity.backfill
  set
    last_id = upper_id,
    rows_marked = rows_marked + marked
  where relation = of_relation;

  return upper_id;
end
$$;

comment on function integrity.backfill_batch(text, integer) is
'Marks the next batch of rows of one app table, in the order of the primary key, and saves in integrity.backfill how far it came. Skips rows that a client has locked. Returns the last id of the batch, NULL when no rows are left.';

revoke all on function integrity.backfill_batch(text, integer) from public;
