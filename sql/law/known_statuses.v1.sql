create or replace function integrity.known_statuses(of_relation text)
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(known.status order by known.position)
  from integrity.status as known
  where known.relation = of_relation
$$;

comment on function integrity.known_statuses(text) is
'The statuses that a table of the app may have, in their order: those of integrity.status.';

revoke all on function integrity.known_statuses(text) from public;
