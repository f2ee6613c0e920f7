create or replace function integrity.operate_rows(quests bigint[])
returns table (
  quest_id bigint,
  relation text,
  row_key jsonb,
  content jsonb
)
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    quest_row.quest_id,
    quest_row.relation,
    quest_row.row_key,
    quest_row.content
  from integrity.quest_rows(quests) as quest_row
$$;

comment on function integrity.operate_rows(bigint[]) is
'Returns the rows of integrity.quest_rows(), with the rights of the layer''s owner, for operators.';

revoke all on function integrity.operate_rows(bigint[]) from public;
