create or replace function integrity.distribution_mismatches(app_schema text)
returns table (
  subject text,
  found text,
  expected text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What is read below is there only with the extension.
  if to_regclass('pg_catalog.pg_dist_partition') is null then
    return;
  end if;

  return query execute
  $query$
  with wanted (relation, place) as (
    values
    (to_regclass(format('%I.quests_quest', $1)), 'distributed by id'),
    (to_regclass(format('%I.applications_application', $1)), 'distributed by quest_id'),
    (to_regclass(format('%I.quests_questparticipant', $1)), 'distributed by quest_id'),
    (to_regclass('integrity.event'), 'distributed by quest_id'),
    (to_regclass(format('%I.users_user', $1)), 'a reference table')
  ),

  present as (
    select
      wanted.relation,
      wanted.place as expected,
      placed.colocationid as colocation,
      case
        when placed.partmethod = 'h'
          then 'distributed by ' || column_to_column_name(placed.logicalrelid, placed.partkey)
        when placed.repmodel = 't' then 'a reference table'
        else 'on the coordinator only'
      end as found
    from wanted
    left join pg_dist_partition as placed
      on wanted.relation = placed.logicalrelid
    where wanted.relation is not null
  ),

  mismatch as (
    select
      'table ' || present.relation::text as subject,
      present.found,
      present.expected
    from present
    where present.found <> present.expected
    union all
    select
      'table ' || present.relation::text,
      'not colocated with quests_quest',
      'colocated'
    from present
    inner join present as quest
      on quest.expected = 'distributed by id'
    where
      present.expected like 'distributed by %'
      and present.colocation <> quest.colocation
    union all
    select
      'table ' || present.relation::text,
      'rows on the coordinator from before it was distributed',
      format('none: select truncate_local_data_after_distributing_table(%L)', present.relation)
    from present
    where
      present.expected like 'distributed by %'
      and pg_relation_size(present.relation) > 0
    union all
    select
      'extension citus',
      extension.extversion,
      '13 or newer'
    from pg_extension as extension
    where
      extension.extname = 'citus'
      and split_part(extension.extversion, '.', 1)::integer < 13
  )

  select
    mismatch.subject,
    mismatch.found,
    mismatch.expected
  from mismatch
  -- On an ordinary database that only has the extension all tables are on the coordinator.
  where exists (select from present where present.found like 'distributed by %')
  $query$
  using app_schema;
end
$$;

comment on function integrity.distribution_mismatches(text) is
'Returns what keeps the layer from working on tables that Citus has distributed: each is to be by quest and colocated, users a reference table, and the event log with the quests, which it is when they were distributed before the layer was attached. Returns no rows where nothing is distributed.';

revoke all on function integrity.distribution_mismatches(text) from public;
