create or replace function integrity.on_quest_write()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  written_status constant text := new.status;
  written_assignee constant uuid := new.assigned_to_id;
begin
  if tg_op = 'UPDATE' and tg_nargs = 0 then
    -- The update changes neither status nor assignee, or the mechanism has derived it already.
    if (
      (new.status <> old.status or new.assigned_to_id is distinct from old.assigned_to_id)
      and current_setting('integrity.derived_quest', true) is distinct from new.id::text
    ) is not true then
      return new;
    end if;
  end if;

  if coalesce(current_setting('integrity.mechanism', true), '') <> '' and integrity.mechanism_is_off(new.id) then
    return new;
  end if;

  new.assigned_to_id := integrity.derived_assignee(new.id, written_assignee);
  new.status := integrity.derived_status(written_status, new.assigned_to_id);
  new.integrity_assigned := nullif(new.assigned_to_id is not null, false);

  if
    (new.assigned_to_id is distinct from written_assignee or new.status <> written_status)
    and not integrity.repeats_own_transaction(
      new.id, written_status, written_assignee, new.status, new.assigned_to_id
    )
  then
    perform integrity.log_event(
      'quest_write_corrected', new.id, null, null, null,
      jsonb_build_object('quest_status', written_status, 'assigned_to_id', written_assignee),
      jsonb_build_object('quest_status', new.status, 'assigned_to_id', new.assigned_to_id)
    );
  end if;

  return new;
end
$$;

comment on function integrity.on_quest_write() is
'Trigger function. Derives status and assignee of a quest from its active participants, whatever was written: the app saves whole rows from stale instances. Logs a write that it overrides, unless it only repeats what its own transaction had found. With an argument it derives also when an update changes neither.';

revoke all on function integrity.on_quest_write() from public;

-- No WHEN on the update: PostgreSQL reads its condition again for every statement, which takes longer than to call the
-- function, which checks the same.
create or replace trigger integrity_derive_on_insert
before insert on public.quests_quest
for each row
when (
  new.assigned_to_id is not null
  or new.status = 'in-progress'
)
execute function integrity.on_quest_write();

create or replace trigger integrity_derive_on_update
before update of status, assigned_to_id on public.quests_quest
for each row
execute function integrity.on_quest_write();

comment on trigger integrity_derive_on_insert on public.quests_quest is
'Derives a quest that is inserted as assigned or in progress.';

comment on trigger integrity_derive_on_update on public.quests_quest is
'Derives a quest whose status or assignee changes.';
