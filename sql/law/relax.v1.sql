create or replace function integrity.relax(of_rule text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  names constant text[] := integrity.law_on_request(of_rule);
  existing record;
begin
  perform integrity.choose_law(names, false);

  -- Last, since these keep writers waiting until the transaction ends.
  for existing in
    select
      law.name,
      format('%I.%I', installation.app_schema, law.name) as index_name,
      format('%I.%I', installation.app_schema, law.relation) as relation,
      own.oid is not null as is_constraint
    from integrity.law as law
    cross join integrity.installation as installation
    left join pg_constraint as own
      on
        law.name = own.conname
        and own.conrelid = to_regclass(format('%I.%I', installation.app_schema, law.relation))
    where
      law.name = any(names)
      and (
        own.oid is not null
        or to_regclass(format('%I.%I', installation.app_schema, law.name)) is not null
      )
    order by law.position desc
  loop
    if existing.is_constraint then
      execute format('alter table %s drop constraint %I', existing.relation, existing.name);
    else
      execute 'drop index ' || existing.index_name;
    end if;
  end loop;
end
$$;

comment on function integrity.relax(text) is
'Drops the constraints that integrity.enforce() asked for, for the owner of the tables; the rule gets back its severity. Writers of the table wait until the transaction ends. Refuses a rule that is always enforced, or that no constraint enforces.';

revoke all on function integrity.relax(text) from public;
