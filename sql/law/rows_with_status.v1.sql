create or replace function integrity.rows_with_status(
  of_relation text,
  wanted text
)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  found_rows bigint;
begin
  execute format(
    'select count(*) from %s where status::text = $1',
    (select format('%I.%I', installation.app_schema, of_relation) from integrity.installation as installation)
  )
  into found_rows
  using wanted;

  return found_rows;
end
$$;

comment on function integrity.rows_with_status(text, text) is
'How many rows of a table of the app have this status. Reads the whole table.';

revoke all on function integrity.rows_with_status(text, text) from public;
