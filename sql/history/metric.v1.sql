create or replace view integrity.metric as
select
  'quest_integrity_violations' as name,
  'Violations of each rule, now.' as meaning,
  jsonb_build_object('rule', summary.rule, 'severity', summary.severity) as labels,
  summary.violations::double precision as value
from integrity.violation_summary as summary
-- While the layer is detached nobody can count them.
where not exists (select from integrity.detached_object)
union all
select
  'quest_integrity_attached' as name,
  'Whether the views and triggers of the layer are there: 0 after quest-integrity detach, until attach.' as meaning,
  '{}' as labels,
  case when exists (select from integrity.detached_object) then 0 else 1 end as value
union all
select
  'quest_integrity_guard_damage' as name,
  'Objects of the layer that are damaged, missing or bypassed.' as meaning,
  '{}' as labels,
  (
    select count(*)
    from integrity.guard_status as guard
    where guard.damage
  ) + (
    select count(*)
    from integrity.node_damage()
  ) as value
union all
select
  'quest_integrity_law_unenforced' as name,
  'Constraints of the law that are not enforced on every row, unless nobody asked for them.' as meaning,
  '{}' as labels,
  count(*) as value
from integrity.law_status as status
where status.state not in ('enforced', 'not requested')
union all
select
  'quest_integrity_last_audit_timestamp_seconds' as name,
  'When the last recorded audit started; 0 when there is none.' as meaning,
  '{}' as labels,
  coalesce(extract(epoch from max(run.started_at)), 0) as value
from integrity.audit_run as run
union all
select
  'quest_integrity_last_audit_duration_seconds' as name,
  'How long the last recorded audit took.' as meaning,
  '{}' as labels,
  extract(epoch from run.duration) as value
from integrity.audit_run as run
where run.id = (select max(latest.id) from integrity.audit_run as latest)
union all
select
  figure.name,
  figure.meaning,
  figure.labels,
  figure.value
from integrity.event_metrics() as figure;

comment on view integrity.metric is
'One row per sample for monitoring: name, meaning, labels, value. All metrics are gauges. `quest-integrity metrics` prints them.';

revoke all on integrity.metric from public;
