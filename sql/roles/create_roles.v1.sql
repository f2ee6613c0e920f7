create or replace function integrity.create_roles()
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  wanted record;
begin
  for wanted in
    select
      role.name,
      role.meaning
    from (
      values
      ('integrity_reader', 'May read the violations and the event log of quest-integrity.'),
      ('integrity_operator', 'May read, repair and undo with quest-integrity.'),
      ('integrity_owner', 'Owns the objects of quest-integrity. Nobody logs in as this role.')
    ) as role (name, meaning)
    where to_regrole(role.name) is null
  loop
    begin
      execute format('create role %I nologin', wanted.name);
      execute format('comment on role %I is %L', wanted.name, wanted.meaning);
    exception
      when insufficient_privilege then
        return query
        select format('create role %I nologin;', wanted.name);
      when duplicate_object or unique_violation then
        -- Another database of this cluster has just created it.
        null;
    end;
  end loop;
end
$$;

comment on function integrity.create_roles() is
'Creates those of the roles integrity_reader, integrity_operator and integrity_owner that the cluster lacks. Returns the statements that it may not run and a DBA has to.';

revoke all on function integrity.create_roles() from public;
