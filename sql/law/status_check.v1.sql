create or replace function integrity.status_check(of_relation text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format('check (status::text = any (%L))', integrity.known_statuses(of_relation)::text)
$$;

comment on function integrity.status_check(text) is
'The definition of the CHECK on the statuses of a table of the app: one constant list, because PostgreSQL reads a CHECK anew for every statement.';

revoke all on function integrity.status_check(text) from public;
