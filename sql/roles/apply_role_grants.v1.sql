create or replace function integrity.apply_role_grants()
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  wanted record;
  statement text;
begin
  for wanted in
    select
      needed.grantee,
      needed.kind,
      needed.target,
      needed.rights,
      case needed.kind when 'schema' then to_regnamespace(needed.target) end as schema_id
    from integrity.role_grant as needed
    where to_regrole(needed.grantee) is not null
    order by
      needed.target,
      needed.grantee
  loop
    continue when has_schema_privilege(wanted.grantee, wanted.schema_id, wanted.rights);

    statement := format('grant %s on %s %s to %I', wanted.rights, wanted.kind, wanted.target, wanted.grantee);

    begin
      execute statement;
    exception
      when insufficient_privilege then
        return query
        select statement || ';';
        continue;
    end;

    -- Without the grant option GRANT only warns.
    if not has_schema_privilege(wanted.grantee, wanted.schema_id, wanted.rights) then
      return query
      select statement || ';';
    end if;
  end loop;
end
$$;

comment on function integrity.apply_role_grants() is
'Grants the rights in integrity.role_grant to those roles of the layer that exist. Returns the GRANT statements that it may not run and the owner of the object has to.';

revoke all on function integrity.apply_role_grants() from public;
