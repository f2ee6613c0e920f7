create or replace function integrity.violated_constraint(
  named text,
  message text
)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  -- Citus names it in the message only, with the number of the shard.
  select coalesce(nullif(named, ''), substring(message from '"(integrity_\w+?)(?:_\d+)?"'), '')
$$;

comment on function integrity.violated_constraint(text, text) is
'Returns the name of the constraint that an error is about. named: what the error says it is; message: its text.';

revoke all on function integrity.violated_constraint(text, text) from public;
