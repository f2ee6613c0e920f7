create or replace function integrity.alter_owners(new_owner regrole)
returns table (statement text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when has_database_privilege(current_database(), 'create')
        then format('alter schema integrity owner to %s', new_owner)
      else format('grant usage, create on schema integrity to %s', new_owner)
    end as statement
  from pg_namespace as namespace
  where
    namespace.nspname = 'integrity'
    and namespace.nspowner <> new_owner
  union all
  select format('alter table %s owner to %s', class.oid::regclass, new_owner) as statement
  from pg_class as class
  where
    class.relnamespace = 'integrity'::regnamespace
    and class.relkind in ('r', 'p', 'v', 'm', 'f')
    and class.relowner <> new_owner
  union all
  select format('alter routine %s owner to %s', routine.oid::regprocedure, new_owner) as statement
  from pg_proc as routine
  where
    routine.pronamespace = 'integrity'::regnamespace
    and routine.proowner <> new_owner
$$;

comment on function integrity.alter_owners(regrole) is
'Returns the statements that make a role the owner of the layer''s objects. Sequences go with their tables.';

revoke all on function integrity.alter_owners(regrole) from public;
