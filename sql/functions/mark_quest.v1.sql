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
'Trigger function. Sets the marker integrity_assigned of a quest to its definition.';

revoke all on function integrity.mark_quest() from public;
