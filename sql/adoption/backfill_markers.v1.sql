create or replace procedure integrity.backfill_markers(
  batch integer default 2000,
  pause_seconds double precision default 0
)
language plpgsql
as $$
declare
  task record;
  upper_id bigint;
  maximum bigint;
begin
  for task in
    select
      backfill.relation,
      installation.app_schema
    from integrity.backfill as backfill
    cross join integrity.installation as installation
    where backfill.finished_at is null
    order by backfill.relation
  loop
    execute pg_catalog.format('select max(id) from %I.%I', task.app_schema, task.relation)
    into maximum;

    loop
      -- A procedure that commits cannot have a SET clause.
      set local search_path = pg_catalog, pg_temp;
      upper_id := integrity.backfill_batch(task.relation, batch);
      exit when upper_id is null;
      commit;
      raise info 'markers of %: up to id % of %', task.relation, upper_id, maximum
        using detail = pg_catalog.json_build_object('relation', task.relation, 'id', upper_id, 'max', maximum);
      perform pg_catalog.pg_sleep(pause_seconds);
    end loop;

    loop
      set local search_path = pg_catalog, pg_temp;
      exit when not integrity.backfill_sweep(task.relation);
      commit;
    end loop;
    commit;
  end loop;
end
$$;

-- The linter misreads the arguments of a procedure.
-- noqa: disable=LT01
comment on procedure integrity.backfill_markers(integer, double precision) is
'Sets the markers of rows that are older than the layer. Commits after each batch of rows and then pauses; at the end it marks the rows that the batches skipped because they were locked. Can be stopped at any time: the next call continues.';
-- noqa: enable=LT01

revoke all on procedure integrity.backfill_markers(integer, double precision) from public;
