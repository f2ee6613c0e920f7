create or replace view integrity.role_revoke as
-- Only where a role is in an object's list of rights: a REVOKE of nothing would write a list down where there was none.
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
-- Nobody else has a use for integrity_owner: also what it got on a table that no longer refers to participants.
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
'The statements that take back what the roles of the layer hold in this database because of integrity.role_grant; empty when they hold nothing.';

revoke all on integrity.role_revoke from public;
