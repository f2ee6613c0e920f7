create or replace function integrity.record_changes(
  of_run bigint,
  of_rule text,
  quests bigint[],
  rows_before jsonb
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
  from jsonb_to_recordset(rows_before) as old_row (quest_id bigint, relation text, row_key jsonb, content jsonb)
  full join integrity.quest_rows(quests) as new_row
    on
      old_row.relation = new_row.relation
      and old_row.row_key = new_row.row_key
  where old_row.content is distinct from new_row.content
  order by
    coalesce(old_row.relation, new_row.relation),
    coalesce(old_row.row_key, new_row.row_key)
$$;

comment on function integrity.record_changes(bigint, text, bigint[], jsonb) is
'Records what a repair or undo changed on these quests: every row that differs from rows_before, the rows of integrity.quest_rows() from before.';

revoke all on function integrity.record_changes(bigint, text, bigint[], jsonb) from public;
