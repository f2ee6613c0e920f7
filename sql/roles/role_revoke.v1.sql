create or replace view integrity.role_revoke as
-- Only objects with rights of a role: a REVOKE of nothing would create an ACL where there was none.
with held as (
  select
    role.rolname as grantee,
    dependency.classid,
    dependency.objid
  from pg_catalog.pg_shdepend as dependency
  inner join pg_catalog.pg_roles as role
    on dependency.refobjid = role.oid
  inner join pg_catalog.pg_database as database
    on dependency.dbid = database.oid
  where
    dependency.refclassid = 'pg_authid'::regclass
    and dependency.deptype = 'a'
    and database.datname = current_database()
    and role.rolname in ('integrity_reader', 'integrity_operator', 'integrity_owner')
),

given as (
  select
    granted.grantee,
    granted.kind,
    granted.target,
    granted.rights,
    case granted.kind
      when 'schema' then to_regnamespace(granted.target)::oid
      when 'function' then to_regprocedure(granted.target)::oid
      else to_regclass(granted.target)::oid
    end as id
  from integrity.role_grant as granted
)

select format('revoke %s on %s %s from %I', given.rights, given.kind, given.target, given.grantee) as statement
from given
inner join held
  on
    given.grantee = held.grantee
    and given.id = held.objid
union
-- All rights of integrity_owner, also on a table that no longer references participants.
select
  format(
    'revoke all on %s from integrity_owner',
    case held.classid
      when 'pg_namespace'::regclass then 'schema ' || held.objid::regnamespace
      when 'pg_proc'::regclass then 'routine ' || held.objid::regprocedure
      else held.objid::regclass::text
    end
  ) as statement
from held
where
  held.grantee = 'integrity_owner'
  and held.classid in ('pg_namespace'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass);

comment on view integrity.role_revoke is
'The statements that revoke what the roles of the layer hold in this database by integrity.role_grant. Empty when they hold nothing.';

revoke all on integrity.role_revoke from public;
