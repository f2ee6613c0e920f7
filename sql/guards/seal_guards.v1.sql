create or replace function integrity.seal_guards()
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into integrity.guard (kind, identity, expected, position, waiting)
  select
    manifest.kind,
    manifest.identity,
    manifest.facts,
    0 as position,
    false as waiting
  from integrity.guard_manifest as manifest
  on conflict (kind, identity) do update
    set expected = excluded.expected
$$;

comment on function integrity.seal_guards() is
'Records the number of entries of the manifest and their digest, so that any other change of the manifest is reported.';

revoke all on function integrity.seal_guards() from public;
