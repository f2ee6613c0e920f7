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
'Trigger function. Sets the marker integrity_approved: TRUE when status is approved, else NULL.';

revoke all on function integrity.mark_application() from public;

-- No WHEN: PostgreSQL reads its condition again for every statement, which takes longer than to call the function.
create or replace trigger integrity_mark
before insert or update of status, integrity_approved on public.applications_application
for each row
execute function integrity.mark_application();

comment on trigger integrity_mark on public.applications_application is
'Sets the marker integrity_approved, whatever a statement writes to it.';
