create or replace function integrity.derive_locked_quest(
  of_quest bigint,
  old_status text,
  old_assignee uuid
)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  assignee constant uuid := integrity.derived_assignee(of_quest, old_assignee);
  new_status constant text := integrity.derived_status(old_status, assignee);
  announced text;
begin
  if assignee is distinct from old_assignee or new_status <> old_status then
    -- Tells the quest's trigger that this write is derived already. No constraint depends on the setting.
    announced := set_config('integrity.derived_quest', of_quest::text, true);

    update public.quests_quest
    set
      status = new_status,
      assigned_to_id = assignee,
      integrity_assigned = nullif(assignee is not null, false)
    where id = of_quest;

    announced := set_config('integrity.derived_quest', '', true);
  end if;

  return assignee;
end
$$;

comment on function integrity.derive_locked_quest(bigint, text, uuid) is
'Derives status and assignee of a quest that the caller has locked, given its present ones. Writes the quest only when they differ. Returns the assignee.';

revoke all on function integrity.derive_locked_quest(bigint, text, uuid) from public;
