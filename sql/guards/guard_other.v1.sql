create or replace view integrity.guard_other as
-- Indexes that back no constraint.
select
  'index' as kind,
  format('%I.%I', schema.nspname, class.relname) as identity,
  'pg_class'::regclass::oid as catalog_id,
  class.oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  regexp_replace(pg_get_indexdef(class.oid), ' WITH \([^)]*\)', '') as printed,
  jsonb_build_object(
    'table', relation.relation_name,
    'name', quote_ident(class.relname),
    'valid', own_index.indisvalid and own_index.indisready and own_index.indislive
  ) as facts
from integrity.guard_relation as relation
inner join pg_catalog.pg_index as own_index
  on relation.relation = own_index.indrelid
inner join pg_catalog.pg_class as class
  on own_index.indexrelid = class.oid
inner join pg_catalog.pg_namespace as schema
  on class.relnamespace = schema.oid
where
  (
    relation.origin = 'own'
    or (
      relation.origin = 'app'
      and class.relname like 'integrity\_%'
    )
  )
  and not exists (
    select
    from pg_catalog.pg_constraint as backed
    where
      backed.conindid = class.oid
      and backed.conrelid = own_index.indrelid
      and backed.contype in ('p', 'u', 'x')
  )
union all
-- A unique key of the app, of any name, prevents duplicate participants.
select
  'key' as kind,
  format('(quest_id, user_id) of %s', relation.relation_name) as identity,
  null::oid as catalog_id,
  null::oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  jsonb_build_object('table', relation.relation_name) as facts
from integrity.guard_relation as relation
where
  relation.relation_name like '%.quests_questparticipant'
  and relation.origin = 'app'
  and exists (
    select
    from pg_catalog.pg_index as own_index
    where
      own_index.indrelid = relation.relation
      and own_index.indisunique
      and own_index.indisvalid
      and own_index.indisready
      and own_index.indpred is null
      and own_index.indnkeyatts = 2
      and (
        select array_agg(attribute.attname::text order by convert_to(attribute.attname::text, 'UTF8'))
        from pg_catalog.pg_attribute as attribute
        where
          attribute.attrelid = own_index.indrelid
          and attribute.attnum = any(own_index.indkey)
      ) = array['quest_id', 'user_id']
  )
union all
-- Rewrite rules and policies can discard writes to the layer's tables.
select
  'rule' as kind,
  format('%I on %s', rewrite.rulename, relation.relation_name) as identity,
  null::oid as catalog_id,
  rewrite.oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  pg_get_ruledef(rewrite.oid) as printed,
  jsonb_build_object('table', relation.relation_name) as facts
from integrity.guard_relation as relation
inner join pg_catalog.pg_rewrite as rewrite
  on relation.relation = rewrite.ev_class
where
  relation.origin <> 'app'
  and rewrite.rulename <> '_RETURN'
union all
select
  'policy' as kind,
  format('%I on %s', own_policy.polname, relation.relation_name) as identity,
  null::oid as catalog_id,
  own_policy.oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  concat_ws(
    ' ',
    own_policy.polcmd,
    pg_get_expr(own_policy.polqual, own_policy.polrelid),
    pg_get_expr(own_policy.polwithcheck, own_policy.polrelid)
  ) as printed,
  jsonb_build_object('table', relation.relation_name) as facts
from integrity.guard_relation as relation
inner join pg_catalog.pg_policy as own_policy
  on relation.relation = own_policy.polrelid
where relation.origin <> 'app'
union all
-- Everything else in schema integrity, and its default privileges.
select
  stray.type as kind,
  stray.identity,
  null::oid as catalog_id,
  dependency.objid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  (
    select in_advance.defaclacl::text
    from pg_catalog.pg_default_acl as in_advance
    where
      in_advance.oid = dependency.objid
      and dependency.classid = 'pg_default_acl'::regclass
  ) as printed,
  '{}'::jsonb as facts
from pg_catalog.pg_depend as dependency
cross join lateral pg_identify_object(dependency.classid, dependency.objid, 0) as stray
where
  dependency.refclassid = 'pg_namespace'::regclass
  and dependency.refobjid = to_regnamespace('integrity')
  and (
    dependency.deptype = 'n'
    or dependency.classid = 'pg_default_acl'::regclass
  )
  and dependency.classid <> 'pg_proc'::regclass
  -- Not expressions, which can contain the schema as a constant.
  and dependency.classid not in (
    'pg_rewrite'::regclass,
    'pg_attrdef'::regclass,
    'pg_constraint'::regclass,
    'pg_trigger'::regclass,
    'pg_policy'::regclass
  )
  and not exists (
    select
    from integrity.guard_relation as relation
    where
      relation.relation = dependency.objid
      and dependency.classid = 'pg_class'::regclass
  )
union all
-- Rows that the layer works from. guard_compared ignores rules added by a user.
select
  'row' as kind,
  contained.identity,
  null::oid as catalog_id,
  null::oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  contained.facts
from (
  select
    format('integrity.rule where rule = %L', listed.rule) as identity,
    to_jsonb(listed) as facts
  from integrity.rule as listed
  union all
  select
    format('integrity.law where name = %L', listed.name) as identity,
    to_jsonb(listed) as facts
  from integrity.law as listed
  union all
  select
    format('integrity.status where relation = %L and status = %L', listed.relation, listed.status) as identity,
    to_jsonb(listed) as facts
  from integrity.status as listed
  union all
  select
    'integrity.installation where singleton' as identity,
    jsonb_build_object(
      'app_schema', installation.app_schema,
      'created_tables', installation.created_tables
    ) as facts
  from integrity.installation as installation
) as contained
union all
select
  'backfill' as kind,
  backfill.relation as identity,
  null::oid as catalog_id,
  null::oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  jsonb_build_object('finished', backfill.finished_at is not null) as facts
from integrity.backfill as backfill
union all
-- Grants of the layer's roles on other objects: without them the mechanism fails.
select
  'rights' as kind,
  format('%s %s', concerned.type, concerned.identity) as identity,
  null::oid as catalog_id,
  null::oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  jsonb_build_object(
    'grants', (
      select jsonb_agg(given.item order by convert_to(given.item, 'UTF8'))
      from (
        select format('%s to %I', lower(whole.privilege_type), whole.grantee::regrole) as item
        from pg_catalog.pg_class as class
        cross join lateral aclexplode(class.relacl) as whole
        where
          class.oid = shared.objid
          and shared.classid = 'pg_class'::regclass
          and whole.grantee = any(shared.roles)
        union all
        select format('%s (%I) to %I', lower(single.privilege_type), attribute.attname, single.grantee::regrole) as item
        from pg_catalog.pg_attribute as attribute
        cross join lateral aclexplode(attribute.attacl) as single
        where
          attribute.attrelid = shared.objid
          and not attribute.attisdropped
          and shared.classid = 'pg_class'::regclass
          and single.grantee = any(shared.roles)
        union all
        select format('%s to %I', lower(whole.privilege_type), whole.grantee::regrole) as item
        from pg_catalog.pg_namespace as schema
        cross join lateral aclexplode(schema.nspacl) as whole
        where
          schema.oid = shared.objid
          and shared.classid = 'pg_namespace'::regclass
          and whole.grantee = any(shared.roles)
      ) as given
    )
  ) as facts
from (
  select
    dependency.classid,
    dependency.objid,
    array_agg(distinct dependency.refobjid) as roles
  from pg_catalog.pg_shdepend as dependency
  inner join pg_catalog.pg_database as place
    on
      dependency.dbid = place.oid
      and place.datname = current_database()
  where
    dependency.deptype = 'a'
    and dependency.classid in ('pg_class'::regclass, 'pg_namespace'::regclass)
    -- Citus hides the shards of a table from pg_class, but not from here.
    and (
      dependency.classid = 'pg_namespace'::regclass
      or dependency.objid in (select class.oid from pg_catalog.pg_class as class)
    )
    and dependency.refclassid = 'pg_authid'::regclass
    and dependency.refobjid in (
      to_regrole('integrity_reader'), to_regrole('integrity_operator'), to_regrole('integrity_owner')
    )
  group by
    dependency.classid,
    dependency.objid
) as shared
cross join lateral pg_identify_object(shared.classid, shared.objid, 0) as concerned
where
  concerned.schema is distinct from 'integrity'
  and concerned.identity <> 'integrity'
union all
-- Attributes that the roles of the layer must not have.
select
  'role' as kind,
  quote_ident(member.rolname) as identity,
  null::oid as catalog_id,
  member.oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  jsonb_strip_nulls(
    jsonb_build_object(
      'superuser', nullif(member.rolsuper, false),
      'login', nullif(member.rolcanlogin and member.rolname = 'integrity_owner', false),
      'createrole', nullif(member.rolcreaterole, false),
      'replication', nullif(member.rolreplication, false)
    )
  ) as facts
from pg_catalog.pg_roles as member
where
  member.rolname in ('integrity_reader', 'integrity_operator', 'integrity_owner')
  and (
    member.rolsuper
    or (member.rolcanlogin and member.rolname = 'integrity_owner')
    or member.rolcreaterole
    or member.rolreplication
  )
union all
-- Bypasses of all triggers: sessions that start as a replica, and subscriptions, which write as one.
-- A session may switch the mechanism off for its own load; every session of a role or a database should not.
select
  'setting' as kind,
  format(
    '%s of %s',
    setting.parts[1],
    concat_ws(' in ', 'role ' || quote_ident(member.rolname), 'database ' || quote_ident(place.datname))
  ) as identity,
  null::oid as catalog_id,
  null::oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  jsonb_build_object('value', setting.parts[2]) as facts
from pg_catalog.pg_db_role_setting as configured
left join pg_catalog.pg_roles as member
  on configured.setrole = member.oid
left join pg_catalog.pg_database as place
  on configured.setdatabase = place.oid
cross join lateral unnest(configured.setconfig) as written (assignment)
cross join lateral string_to_array(written.assignment, '=') as setting (parts)
where
  (
    (
      setting.parts[1] = 'session_replication_role'
      and setting.parts[2] <> 'origin'
    )
    or (
      setting.parts[1] = 'integrity.mechanism'
      and lower(setting.parts[2]) in ('off', 'false', 'no', '0')
    )
  )
  and (
    configured.setdatabase = 0
    or place.datname = current_database()
  )
union all
select
  'setting' as kind,
  'session_replication_role of every session' as identity,
  null::oid as catalog_id,
  null::oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  jsonb_build_object('value', current_one.reset_val) as facts
from pg_catalog.pg_settings as current_one
where
  current_one.name = 'session_replication_role'
  and current_one.reset_val <> 'origin'
  -- Not when the value of this session comes from one of the settings above.
  and current_one.source not in ('database', 'user', 'database user')
  and not exists (
    select
    from pg_catalog.pg_db_role_setting as configured
    left join pg_catalog.pg_database as place
      on configured.setdatabase = place.oid
    cross join lateral unnest(configured.setconfig) as setting (assignment)
    where
      setting.assignment like 'session_replication_role=%'
      and (
        configured.setdatabase = 0
        or place.datname = current_database()
      )
  )
union all
select
  'subscription' as kind,
  format('%I to %s', subscriber.subname, relation.relation_name) as identity,
  null::oid as catalog_id,
  subscriber.oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  null::text as printed,
  jsonb_build_object('table', relation.relation_name) as facts
from pg_catalog.pg_subscription_rel as subscribed
inner join pg_catalog.pg_subscription as subscriber
  on subscribed.srsubid = subscriber.oid
inner join integrity.guard_relation as relation
  on subscribed.srrelid = relation.relation;

comment on view integrity.guard_other is
'All other objects, as the catalog has them: indexes, keys, rewrite rules, policies, unknown objects in schema integrity, rows that the layer works from, grants and attributes of its roles, settings and subscriptions that bypass triggers or switch the mechanism off. Part of integrity.guard_found.';

revoke all on integrity.guard_other from public;
