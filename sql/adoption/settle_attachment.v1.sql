create or replace function integrity.settle_attachment()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
-- These change how PostgreSQL prints a definition.
set quote_all_identifiers = off
set intervalstyle = postgres
as $$
declare
  built record;
  given record;
  since timestamptz;
  remaining integer;
begin
  select min(detached.at)
  into since
  from integrity.detached_object as detached;

  for built in
    select
      detached.kind,
      detached.identity,
      detached.owner,
      detached.grants
    from integrity.detached_object as detached
    inner join integrity.dependent as dependent
      on
        detached.kind = dependent.kind
        and detached.identity = dependent.identity
    where detached.kind <> 'trigger'
    order by detached.depth
  loop
    -- A role may be gone since.
    if
      to_regrole(quote_ident(built.owner)) is not null
      and has_schema_privilege(to_regrole(quote_ident(built.owner)), 'integrity', 'create')
    then
      execute format('alter %s %s owner to %I', built.kind, built.identity, built.owner);
    end if;

    for given in
      select
        item.privilege,
        item."column",
        item.grantee,
        item.grantable
      from jsonb_to_recordset(built.grants)
        as item (privilege text, "column" text, grantee text, role text, grantable boolean)
      where
        item.role is null
        or to_regrole(item.role) is not null
    loop
      execute format(
        'grant %s%s on %s %s to %s%s',
        given.privilege,
        ' (' || quote_ident(given."column") || ')',
        case built.kind when 'view' then 'table' else built.kind end,
        built.identity,
        given.grantee,
        case when given.grantable then ' with grant option' else '' end
      );
    end loop;
  end loop;

  -- A column that has another type since may show in what was built from the same files as before. Not in a manifest
  -- that is not as it was sealed: that would hide it.
  if
    exists (
      select
      from integrity.detached_object as detached
      where detached.kind <> 'trigger'
    )
    and exists (
      select
      from integrity.guard as guard
      inner join integrity.guard_manifest as manifest
        on
          guard.kind = manifest.kind
          and guard.expected = manifest.facts
    )
  then
    update integrity.guard as guard
    set
      expected = found.facts - array['owner', 'grants']
      || jsonb_strip_nulls(
        jsonb_build_object('owner', guard.expected -> 'owner', 'grants', guard.expected -> 'grants')
      ),
      definition = case
        when guard.kind <> 'view' or guard.identity = 'integrity.violations' then guard.definition
        else
          format(
            E'create or replace view %s as\n%s',
            guard.identity,
            rtrim(pg_get_viewdef(found.object_id), ';')
          )
      end
    from integrity.guard_found as found
    inner join integrity.detached_object as detached
      on
        found.kind = detached.kind
        and found.identity = detached.identity
    where
      guard.kind = found.kind
      and guard.identity = found.identity
      and guard.expected - array['owner', 'grants'] <> found.facts - array['owner', 'grants'];

    if found then
      perform integrity.seal_guards();
    end if;
  end if;

  delete from integrity.detached_object as detached
  using integrity.dependent as dependent
  where
    detached.kind = dependent.kind
    and detached.identity = dependent.identity;

  delete from integrity.detached_object as detached
  using integrity.attachment as attachment
  where
    detached.kind = attachment.kind
    and detached.identity = attachment.identity
    and not attachment.is_needed;

  select count(*)
  into remaining
  from integrity.detached_object;

  if remaining = 0 and since is not null then
    perform integrity.log_event(
      'attached', null, null, null, null, jsonb_build_object('detached_at', since), null
    );
  end if;

  return remaining;
end
$$;

comment on function integrity.settle_attachment() is
'The end of each step of `quest-integrity attach`: gives what was built its owner and its grants back, and forgets that it was dropped. Returns how many objects are still to be built; at 0 the layer is attached.';

revoke all on function integrity.settle_attachment() from public;
