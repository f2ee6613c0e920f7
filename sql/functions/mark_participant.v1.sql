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
'Trigger function. Sets the marker integrity_active of a participant to its definition.';

revoke all on function integrity.mark_participant() from public;
