create or replace function integrity.backfill_sweep(of_relation text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  task record;
  marked bigint;
begin
  select
    backfill.marker,
    backfill.condition,
    format('%I.%I', installation.app_schema, backfill.relation) as relation
  into strict task
  from integrity.backfill as backfill
  cross join integrity.installation as installation
  where backfill.relation = of_relation;

  -- One row per call: a transaction that holds one lock cannot deadlock with a client.
  execute format(
    'update %1$s
    set %2$I = true
    where id = (select id from %1$s where %2$I is null and (%3$s) limit 1)',
    task.relation,
    task.marker,
    task.condition
  );
  get diagnostics marked = row_count;

  update integrity.backfill
  set
    rows_marked = rows_marked + marked,
    finished_at = case when marked = 0 then clock_timestamp() end
  where relation = of_relation;

  return marked > 0;
end
$$;

comment on function integrity.backfill_sweep(text) is
'Marks one row that the batches skipped because a client had locked it, and waits for the lock. Returns true when it marked a row. Otherwise sets finished_at of the table and returns false.';

revoke all on function integrity.backfill_sweep(text) from public;
