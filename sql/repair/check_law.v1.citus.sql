create or replace function integrity.check_law(quests bigint[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if quests is null then
    set constraints all immediate;
    set constraints all deferred;
  else
    -- SET CONSTRAINTS reaches no other node, but this runs where the quests are.
    perform integrity.check_law(null)
    from public.quests_quest as quest
    where quest.id = any(quests);
  end if;
end
$$;

comment on function integrity.check_law(bigint[]) is
'Checks the deferred constraints now instead of at COMMIT. quests: those that were changed, whose nodes are asked; NULL for this node.';

revoke all on function integrity.check_law(bigint[]) from public;
