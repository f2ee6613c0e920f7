create or replace function integrity.record_changes(
  of_run bigint,
  of_rule text,
  quests bigint[],
  old_quests bigint[],
  old_relations text[],
  old_keys jsonb[],
  old_contents jsonb[]
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into integrity.repair_change (
    run,
    rule,
    quest_id,
    relation,
    row_key,
    before,
    after
  )
  select
    of_run,
    of_rule,
    coalesce(old_row.quest_id, new_row.quest_id) as quest_id,
    coalesce(old_row.relation, new_row.relation) as relation,
    coalesce(old_row.row_key, new_row.row_key) as row_key,
    old_row.content as before,
    new_row.content as after
  from unnest(old_quests, old_relations, old_keys, old_contents) as old_row (quest_id, relation, row_key, content)
  full join integrity.quest_rows(quests) as new_row
    on
      old_row.relation = new_row.relation
      and old_row.row_key = new_row.row_key
  where old_row.content is distinct from new_row.content
  order by
    coalesce(old_row.relation, new_row.relation),
    coalesce(old_row.row_key, new_row.row_key)
$$;

comment on function integrity.record_changes(bigint, text, bigint[], bigint[], text[], jsonb[], jsonb[]) is
'Records what a repair or undo changed on these quests: every row that differs from the old ones, the columns of integrity.quest_rows() from before.';

revoke all on function integrity.record_changes(bigint, text, bigint[], bigint[], text[], jsonb[], jsonb[]) from public;
