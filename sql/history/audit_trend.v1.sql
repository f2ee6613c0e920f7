create or replace view integrity.audit_trend as
select
  run.id as run,
  run.started_at,
  run.duration,
  run.actor,
  found.errors,
  found.warnings,
  (
    select count(*)
    from integrity.audit_violation as appeared
    where appeared.first_run = run.id
  ) as new_violations,
  (
    select count(*)
    from integrity.audit_violation as fixed
    where fixed.gone_run = run.id
  ) as fixed_violations,
  cardinality(run.damage) as guard_damage
from integrity.audit_run as run
cross join lateral (
  select
    coalesce(sum(counted.violations) filter (where counted.severity = 'error'), 0)::bigint as errors,
    coalesce(sum(counted.violations) filter (where counted.severity = 'warning'), 0)::bigint as warnings
  from integrity.audit_count as counted
  where counted.run = run.id
) as found;

comment on view integrity.audit_trend is
'One row per recorded audit: errors and warnings, how many violations are new and how many fixed since the audit before it, and how many objects the guards reported as damage. `quest-integrity history` writes these columns.';

revoke all on integrity.audit_trend from public;
