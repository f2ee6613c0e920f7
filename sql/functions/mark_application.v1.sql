create or replace function integrity.mark_application()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.integrity_approved := nullif(new.status = 'approved', false);
  return new;
end
$$;

comment on function integrity.mark_application() is
'Trigger function. Sets the marker integrity_approved of an application to its definition.';

revoke all on function integrity.mark_application() from public;
