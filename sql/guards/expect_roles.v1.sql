create or replace function integrity.expect_roles()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- These settings change how PostgreSQL prints a definition.
set quote_all_identifiers = off
set intervalstyle = postgres
as $$
declare
  entry record;
begin
  if not exists (
    select
    from integrity.guard as guard
    where guard.kind = 'manifest'
  ) then
    return;
  end if;

  for entry in
    with given as (
      select
        role_grant.target,
        concat(one.found[1], ' (' || quote_ident(attribute.name) || ')', ' to ', role_grant.grantee) as item
      from integrity.role_grant as role_grant
      cross join lateral regexp_matches(role_grant.rights, '(\w+)(?: \(([^)]*)\))?', 'g') as one (found)
      left join lateral unnest(string_to_array(one.found[2], ', ')) as attribute (name) on true
    )

    select
      found.kind,
      found.identity,
      jsonb_strip_nulls(
        jsonb_build_object('owner', found.facts -> 'owner', 'grants', found.facts -> 'grants')
      ) as facts
    from integrity.guard_found as found
    where
      found.facts ? 'grants'
      -- Accept only grants that integrity.role_grant or the manifest has.
      and not exists (
        select
        from jsonb_array_elements_text(found.facts -> 'grants') as held (item)
        where
          held.item not like '% to (owner)'
          and not exists (
            select
            from integrity.guard as known
            where
              known.kind = found.kind
              and known.identity = found.identity
              and known.expected -> 'grants' ? held.item
          )
          and not exists (
            select
            from given
            where
              given.item = case
                when found.kind = 'column'
                  then
                    replace(
                      held.item,
                      ' to ',
                      format(' (%s) to ', substr(found.identity, length(found.facts ->> 'table') + 2))
                    )
                else held.item
              end
              and given.target = case found.kind
                when 'rights' then substring(found.identity from ' (.*)')
                when 'column' then found.facts ->> 'table'
                else found.identity
              end
          )
      )
  loop
    if entry.kind = 'rights' then
      insert into integrity.guard (kind, identity, expected, position, waiting)
      values (entry.kind, entry.identity, entry.facts, 0, false)
      on conflict (kind, identity) do update
      set expected = excluded.expected;
    else
      update integrity.guard as guard
      set expected = guard.expected || entry.facts
      where
        guard.kind = entry.kind
        and guard.identity in (
          entry.identity,
          case
            when entry.kind = 'partition' and entry.identity <> 'integrity.event_default' then 'integrity.event_*'
          end
        )
        and not guard.expected @> entry.facts;
    end if;
  end loop;

  perform integrity.seal_guards();
end
$$;

comment on function integrity.expect_roles() is
'Updates the manifest to the current owners and to the grants that integrity.grant_roles() gives, which calls this function. Any other grant stays damage. Does nothing before the manifest exists.';

revoke all on function integrity.expect_roles() from public;
