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

  -- Skips rows that a client has locked; backfill_sweep() marks them. Waiting here with locks held could deadlock.
  execute format(
    'update %1$s
    set %2$I = true
    where ctid = any(array(
      select ctid
      from %1$s
      where id > $1 and id <= $2 and %2$I is null and (%3$s)
      for no key update skip locked
    ))',
    task.relation,
    task.marker,
    task.condition
  )
  using task.last_id, upper_id;
  get diagnostics marked = row_count;

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
