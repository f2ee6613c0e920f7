create or replace function integrity.expect_roles()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- These change how PostgreSQL prints a definition.
set quote_all_identifiers = off
set intervalstyle = postgres
as $$
begin
  update integrity.guard as guard
  set
    expected = guard.expected || jsonb_strip_nulls(
      jsonb_build_object('owner', found.facts -> 'owner', 'grants', found.facts -> 'grants')
    )
  from integrity.guard_found as found
  where
    guard.kind = found.kind
    and guard.kind <> 'column'
    and (
      guard.identity = found.identity
      or (
        guard.identity = 'integrity.event_*'
        and found.identity = (
          select max(relation.relation_name)
          from integrity.guard_relation as relation
          where relation.origin = 'partition'
        )
      )
    )
    and guard.expected is distinct from found.facts
    -- Nothing but what the roles of the layer are given.
    and not exists (
      select
      from jsonb_array_elements_text(found.facts -> 'grants') as held (item)
      where
        held.item not like '% to (owner)'
        and not exists (
          select
          from integrity.role_grant as given
          where
            given.target = found.identity
            and held.item = format('%s to %I', given.rights, given.grantee)
        )
    );

  perform integrity.seal_guards();
end
$$;

comment on function integrity.expect_roles() is
'Makes the manifest expect the owners and the grants that integrity.grant_roles() has given; other grants stay unexpected.';

revoke all on function integrity.expect_roles() from public;
