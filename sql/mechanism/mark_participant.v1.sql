create or replace function integrity.mark_participant()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.integrity_active := nullif(new.status <> 'dropped', false);
  return new;
end
$$;

comment on function integrity.mark_participant() is
'Trigger function. Sets the marker integrity_active: TRUE when status is not dropped, else NULL.';

revoke all on function integrity.mark_participant() from public;

-- No WHEN: PostgreSQL reads its condition again for every statement, which takes longer than to call the function.
create or replace trigger integrity_mark
before insert or update of status, integrity_active on public.quests_questparticipant
for each row
execute function integrity.mark_participant();

comment on trigger integrity_mark on public.quests_questparticipant is
'Sets the marker integrity_active, whatever a statement writes to it.';
