create or replace function integrity.grant_roles()
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  left_to_dba text[];
  migrator name;
  new_owner regrole;
  statement text;
begin
  select array_agg(missing)
  into left_to_dba
  from integrity.create_roles() as missing;

  -- The migrating role needs the rights of integrity_owner to change objects that integrity_owner owns.
  select role.rolname
  into migrator
  from pg_class as version
  inner join pg_roles as role
    on version.relowner = role.oid
  where
    version.oid = 'integrity.alembic_version'::regclass
    and not role.rolsuper
    and role.rolname <> 'integrity_owner';

  if migrator is not null and not exists (
    select
    from pg_roles as owner_role
    where
      owner_role.rolname = 'integrity_owner'
      and pg_has_role(migrator, owner_role.oid, 'usage')
  ) then
    statement := format('grant integrity_owner to %I', migrator);

    begin
      execute statement;
    exception
      when insufficient_privilege or undefined_object then
        left_to_dba := left_to_dba || (statement || ';');
      when unique_violation then
        -- An upgrade of another database of this cluster has just granted it.
        null;
    end;
  end if;

  left_to_dba := left_to_dba || array(
    select missing
    from integrity.apply_role_grants() as missing
  );

  -- integrity_owner has only the rights that the layer needs; the owner of the app's tables has more, and is the
  -- fallback.
  if exists (
    select
    from integrity.owner_obstacle
  ) then
    select class.relowner
    into strict new_owner
    from integrity.installation as installation
    inner join pg_class as class
      on class.oid = to_regclass(format('%I.quests_quest', installation.app_schema));
  else
    new_owner := 'integrity_owner'::regrole;
    alter default privileges for role integrity_owner revoke execute on functions from public;
  end if;

  for statement in
    select alter_owner.statement
    from integrity.alter_owners(new_owner) as alter_owner
  loop
    execute statement;
  end loop;

  if to_regprocedure('integrity.expect_roles()') is not null then
    -- Record the new owners and grants in the manifest.
    execute 'select integrity.expect_roles()';
  end if;

  if cardinality(left_to_dba) > 0 then
    return query
    select unnest(left_to_dba || 'select * from integrity.grant_roles();'::text);
  end if;

  return query
  select format('-- %s owns the layer, not integrity_owner: %s', new_owner, remaining.obstacle)
  from integrity.owner_obstacle as remaining;
end
$$;

comment on function integrity.grant_roles() is
'Creates the roles of the layer, grants them the rights in integrity.role_grant, and makes integrity_owner the owner of the layer''s objects, or the owner of the app''s tables where integrity.owner_obstacle has a reason. Can be run again at any time, by the migrating role or a superuser. Returns what is left to a DBA, as SQL; no rows when all is done.';

revoke all on function integrity.grant_roles() from public;
