create or replace function integrity.row_statement(
  identity text,
  facts jsonb
)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select
    format(
      'insert into %1$s (%3$s) overriding system value
              select %3$s from jsonb_populate_record(null::%1$s, %2$L)',
      split_part(identity, ' ', 1),
      facts,
      (select string_agg(format('%I', key), ', ') from jsonb_object_keys(facts) as key)
    )
$$;

comment on function integrity.row_statement(text, jsonb) is
'The statement that inserts a row of the layer''s own, given its entry in the manifest.';

revoke all on function integrity.row_statement(text, jsonb) from public;
