create or replace function integrity.mark_application()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.status = 'approved' and new.integrity_approved is not true and new.reviewed_at is null then
    new.reviewed_at := now();
  end if;

  new.integrity_approved := nullif(new.status = 'approved', false);
  return new;
end
$$;

comment on function integrity.mark_application() is
'Trigger function. Sets the marker integrity_approved of an application to its definition, and gives one that becomes approved without a review time the time of the transaction.';

revoke all on function integrity.mark_application() from public;

-- Without WHEN: PostgreSQL reads its condition anew for every statement, which takes longer than to call the function.
create or replace trigger integrity_mark
before insert or update of status, integrity_approved on public.applications_application
for each row
execute function integrity.mark_application();

comment on trigger integrity_mark on public.applications_application is
'Keeps the marker integrity_approved equal to its definition, whatever a write says.';
