create or replace function integrity.lock_quests(quests bigint[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
  from public.quests_quest as quest
  where quest.id = any(quests)
  order by quest.id
  for update;
end
$$;

comment on function integrity.lock_quests(bigint[]) is
'Locks quests against every other writer until the transaction ends, in the order of their ids.';

revoke all on function integrity.lock_quests(bigint[]) from public;
