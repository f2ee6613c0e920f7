create or replace function integrity.revoke_roles()
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  statement text;
  role record;
begin
  for statement in
    select alter_owner.statement
    from integrity.alter_owners(current_user::regrole) as alter_owner
  loop
    execute statement;
  end loop;

  for statement in
    select held.statement
    from integrity.role_revoke as held
  loop
    begin
      execute statement;
    exception
      when insufficient_privilege then
        null;
    end;
  end loop;

  -- What is still held: without the grant option REVOKE fails or only warns.
  return query
  select held.statement || ';'
  from integrity.role_revoke as held;

  if exists (
    select
    from pg_default_acl as default_right
    where
      default_right.defaclrole = to_regrole('integrity_owner')
      and pg_has_role(default_right.defaclrole, 'usage')
  ) then
    alter default privileges for role integrity_owner grant execute on functions to public;
  end if;

  -- Roles belong to the cluster: another database or a member may still need them.
  for role in
    select
      known.oid,
      known.rolname,
      (
        select string_agg(distinct coalesce(database.datname, 'the cluster'), ', ')
        from pg_shdepend as dependency
        left join pg_database as database
          on dependency.dbid = database.oid
        where
          dependency.refclassid = 'pg_authid'::regclass
          and dependency.refobjid = known.oid
      ) as used_in,
      (
        select string_agg(member.rolname, ', ' order by member.rolname)
        from pg_auth_members as membership
        inner join pg_roles as member
          on membership.member = member.oid
        where
          membership.roleid = known.oid
          and member.rolname <> current_user
      ) as members
    from pg_roles as known
    where known.rolname in ('integrity_reader', 'integrity_operator', 'integrity_owner')
    order by known.rolname
  loop
    if role.used_in is not null then
      return query
      select format('-- the role %I stays: %s depends on it', role.rolname, role.used_in);
    elsif role.members is not null then
      return query
      select format('-- the role %I stays: it was granted to %s', role.rolname, role.members);
    else
      begin
        execute format('drop role %I', role.rolname);
      exception
        when insufficient_privilege or dependent_objects_still_exist then
          return query
          select format('drop role %I;', role.rolname);
      end;
    end if;
  end loop;
end
$$;

comment on function integrity.revoke_roles() is
'Undoes integrity.grant_roles(): makes the current user the owner of the layer''s objects, revokes the rights of the roles in this database, and drops the roles that nothing else in the cluster needs. Returns what it could not revoke or drop.';

revoke all on function integrity.revoke_roles() from public;
