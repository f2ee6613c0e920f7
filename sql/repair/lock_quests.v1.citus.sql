create or replace function integrity.lock_quests(quests bigint[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  of_quest bigint;
begin
  -- Citus locks no rows of several shards by one statement.
  for of_quest in
    select listed.id
    from unnest(quests) as listed (id)
    order by listed.id
  loop
    perform
    from public.quests_quest as quest
    where quest.id = of_quest
    for update;
  end loop;
end
$$;

comment on function integrity.lock_quests(bigint[]) is
'Locks quests against every other writer until the transaction ends, in the order of their ids.';

revoke all on function integrity.lock_quests(bigint[]) from public;
