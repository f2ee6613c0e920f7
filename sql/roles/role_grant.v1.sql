create or replace view integrity.role_grant as
with listed (grantees, kind, target, rights) as (
  values
  ('reader, operator', 'schema', 'integrity', 'usage'),
  ('reader, operator, owner', 'schema', 'app', 'usage'),
  -- Violations, events, law and guards.
  ('reader, operator', 'table', 'integrity.alembic_version', 'select'),
  ('reader, operator', 'table', 'integrity.approval_timeline', 'select'),
  ('reader, operator', 'table', 'integrity.audit_change', 'select'),
  ('reader, operator', 'table', 'integrity.audit_count', 'select'),
  ('reader, operator', 'table', 'integrity.audit_run', 'select'),
  ('reader, operator', 'table', 'integrity.audit_trend', 'select'),
  ('reader, operator', 'table', 'integrity.audit_violation', 'select'),
  ('reader, operator', 'table', 'integrity.backfill', 'select'),
  ('reader, operator', 'table', 'integrity.corrections', 'select'),
  ('reader, operator', 'table', 'integrity.daily_approval', 'select'),
  ('reader, operator', 'table', 'integrity.detached_object', 'select'),
  ('reader, operator', 'table', 'integrity.diagram_edge', 'select'),
  ('reader, operator', 'table', 'integrity.diagram_node', 'select'),
  ('reader, operator', 'table', 'integrity.event', 'select'),
  ('reader, operator', 'table', 'integrity.event_kind', 'select'),
  ('reader, operator', 'table', 'integrity.events', 'select'),
  ('reader, operator', 'table', 'integrity.guard', 'select'),
  ('reader, operator', 'table', 'integrity.guard_relation', 'select'),
  ('reader, operator', 'table', 'integrity.guard_status', 'select'),
  ('reader, operator', 'table', 'integrity.installation', 'select'),
  ('reader, operator', 'table', 'integrity.law', 'select'),
  ('reader, operator', 'table', 'integrity.law_status', 'select'),
  ('reader, operator', 'table', 'integrity.metric', 'select'),
  ('reader, operator', 'table', 'integrity.named_violation', 'select'),
  ('reader, operator', 'table', 'integrity.needed_column', 'select'),
  ('reader, operator', 'table', 'integrity.repair_item', 'select'),
  ('reader, operator', 'table', 'integrity.repair_order', 'select'),
  ('reader, operator', 'table', 'integrity.repair_run', 'select'),
  ('reader, operator', 'table', 'integrity.rule', 'select'),
  ('reader, operator', 'table', 'integrity.status', 'select'),
  ('reader, operator', 'table', 'integrity.suspect_duplicate', 'select'),
  ('reader, operator', 'table', 'integrity.suspect_pair', 'select'),
  ('reader, operator', 'table', 'integrity.suspect_quest', 'select'),
  ('reader, operator', 'table', 'integrity.unvouched_approval', 'select'),
  ('reader, operator', 'table', 'integrity.violation_summary', 'select'),
  ('reader, operator', 'table', 'integrity.violations', 'select'),
  -- What an audit reads and prints: ids, statuses and usernames; no free text and no password.
  ('reader, operator', 'table', 'app.users_user', 'select (id, username)'),
  ('reader, operator', 'table', 'app.quests_quest', 'select (id, status, assigned_to_id)'),
  ('reader, operator', 'table', 'app.applications_application', 'select (id, status, quest_id, applicant_id)'),
  ('reader, operator', 'table', 'app.quests_questparticipant', 'select (id, status, quest_id, user_id)'),
  -- Repairs record whole rows of the app, with free text: readers get only the other columns.
  ('reader', 'table', 'integrity.repair_change', 'select (run, number, rule, quest_id, relation, row_key)'),
  ('operator', 'table', 'integrity.repair_change', 'select'),
  ('operator', 'table', 'integrity.repair_effect', 'select'),
  ('reader, operator', 'function', 'integrity.distribution_mismatches(text)', 'execute'),
  ('reader, operator', 'function', 'integrity.node_damage()', 'execute'),
  ('reader, operator', 'function', 'integrity.event_metrics()', 'execute'),
  ('operator', 'function', 'integrity.record_audit()', 'execute'),
  ('operator', 'function', 'integrity.quest_rows(bigint[])', 'execute'),
  ('operator', 'function', 'integrity.start_repair(text, jsonb)', 'execute'),
  ('operator', 'function', 'integrity.plan_repair(bigint, text[], uuid, bigint, bigint)', 'execute'),
  ('operator', 'function', 'integrity.repair_batch(bigint, integer)', 'execute'),
  ('operator', 'function', 'integrity.plan_violation(bigint, text)', 'execute'),
  ('operator', 'function', 'integrity.repair_violation(text, text, jsonb)', 'execute'),
  ('operator', 'function', 'integrity.start_undo(bigint, text)', 'execute'),
  ('operator', 'function', 'integrity.undo_batch(bigint, integer)', 'execute'),
  ('operator', 'function', 'integrity.operate(bigint, integer)', 'execute'),
  ('operator', 'function', 'integrity.operate_rows(bigint[])', 'execute'),
  -- What triggers and repairs need on the app's tables, and nothing else.
  ('owner', 'table', 'app.users_user', 'select (id, username)'),
  ('owner', 'table', 'app.quests_quest', 'select, update (status, assigned_to_id, integrity_assigned)'),
  (
    'owner', 'table', 'app.applications_application',
    'select, insert, delete, update (status, integrity_approved)'
  ),
  ('owner', 'table', 'app.quests_questparticipant', 'select, insert, update, delete')
),

-- Materialized, so that PostgreSQL looks up only the objects listed here. Otherwise it may look up every table of the
-- database, and fails for a schema that the caller may not use.
placed as materialized (
  select
    listed.grantees,
    listed.kind,
    case
      when listed.target ~ '^app\M' then quote_ident(installation.app_schema) || substr(listed.target, 4)
      else listed.target
    end as target,
    listed.rights
  from listed
  cross join integrity.installation as installation
  union all
  select
    'reader, operator' as grantees,
    'table' as kind,
    format('integrity.%I', rule.rule) as target,
    'select' as rights
  from integrity.rule as rule
  union all
  -- On Citus who reads a view needs rights on the times that it reads.
  select
    'reader, operator' as grantees,
    'table' as kind,
    attribute.attrelid::regclass::text as target,
    format('select (%I)', attribute.attname) as rights
  from integrity.installation as installation
  inner join pg_catalog.pg_attribute as attribute
    on
      (attribute.attrelid, attribute.attname) in (
        (to_regclass(format('%I.quests_quest', installation.app_schema)), 'completed_at'),
        (to_regclass(format('%I.quests_questparticipant', installation.app_schema)), 'joined_at')
      )
  where
    exists (
      select
      from pg_catalog.pg_extension as extension
      where extension.extname = 'citus'
    )
  union all
  -- Merging duplicate participants updates the columns that reference them.
  select
    'owner' as grantees,
    'table' as kind,
    reference.relation as target,
    format('select, update (%I)', reference.attribute) as rights
  from integrity.participant_reference as reference
  union all
  select
    'owner' as grantees,
    'schema' as kind,
    quote_ident(schema.nspname) as target,
    'usage' as rights
  from integrity.participant_reference as reference
  -- Not to_regclass(), which fails for a schema that the caller may not use.
  inner join pg_catalog.pg_namespace as schema
    on starts_with(reference.relation, quote_ident(schema.nspname) || '.')
  union all
  -- An identity column needs no right on its sequence; a serial column, as in older Django versions, does.
  select
    'owner' as grantees,
    'sequence' as kind,
    format('%I.%I', schema.nspname, sequence.relname) as target,
    'usage' as rights
  from integrity.installation as installation
  inner join pg_catalog.pg_attrdef as default_value
    on
      default_value.adrelid in (
        to_regclass(format('%I.applications_application', installation.app_schema)),
        to_regclass(format('%I.quests_questparticipant', installation.app_schema))
      )
  inner join pg_catalog.pg_depend as dependency
    on
      dependency.classid = 'pg_attrdef'::regclass
      and default_value.oid = dependency.objid
      and dependency.refclassid = 'pg_class'::regclass
  inner join pg_catalog.pg_class as sequence
    on
      dependency.refobjid = sequence.oid
      and sequence.relkind = 'S'
  inner join pg_catalog.pg_namespace as schema
    on sequence.relnamespace = schema.oid
)

select distinct
  'integrity_' || unnest(string_to_array(placed.grantees, ', ')) as grantee,
  placed.kind,
  placed.target,
  placed.rights
from placed
where
  case placed.kind
    when 'table' then to_regclass(placed.target) is not null
    when 'function' then to_regprocedure(placed.target) is not null
    else placed.target is not null
  end;

comment on view integrity.role_grant is
'Every right of the roles of the layer, as in GRANT rights ON kind target TO grantee, for the objects that exist. The roles have no other rights.';

revoke all on integrity.role_grant from public;
