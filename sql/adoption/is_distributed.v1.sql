create or replace function integrity.is_distributed()
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What is read below is there only with the extension.
  if to_regclass('pg_catalog.pg_dist_partition') is null then
    return false;
  end if;

  return exists (
    select
    from integrity.installation as installation
    inner join pg_catalog.pg_dist_partition as placed
      on placed.logicalrelid = to_regclass(format('%I.quests_quest', installation.app_schema))
    where placed.partmethod = 'h'
  );
end
$$;

comment on function integrity.is_distributed() is
'Returns whether Citus has distributed the app''s quests over its nodes.';

-- Runs with the rights of the caller.
grant execute on function integrity.is_distributed() to public;
