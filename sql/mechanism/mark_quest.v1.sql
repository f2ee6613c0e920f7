create or replace function integrity.mark_quest()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.integrity_assigned := nullif(new.assigned_to_id is not null, false);
  return new;
end
$$;

comment on function integrity.mark_quest() is
'Trigger function. Sets the marker integrity_assigned: TRUE when assigned_to_id is not null, else NULL.';

revoke all on function integrity.mark_quest() from public;

-- No WHEN: PostgreSQL reads its condition again for every statement, which takes longer than to call the function.
create or replace trigger integrity_mark
before insert or update of status, assigned_to_id, integrity_assigned on public.quests_quest
for each row
execute function integrity.mark_quest();

comment on trigger integrity_mark on public.quests_quest is
'Sets the marker integrity_assigned, whatever a statement writes to it.';
