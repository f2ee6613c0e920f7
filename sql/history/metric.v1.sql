create or replace view integrity.metric as
-- Clients choose their application_name: keep the number of label values small.
with ranked as (
  select
    correction.application_name,
    count(*) as writes,
    case
      when row_number() over (order by count(*) desc, correction.application_name asc) > 20 then 'all others'
      else correction.application_name
    end as client
  from integrity.event as correction
  where
    correction.kind = 'quest_write_corrected'
    and correction.at > now() - interval '1 day'
  group by correction.application_name
)

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
  count(*) as value
from integrity.guard_status as guard
where guard.damage
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
  'quest_integrity_approvals_last_day' as name,
  'Approvals in the last 24 hours.' as meaning,
  '{}' as labels,
  count(*) as value
from integrity.event as approval
where
  approval.kind = 'application_approved'
  and approval.at > now() - interval '1 day'
union all
select
  'quest_integrity_corrections_last_day' as name,
  'Writes of stale quest state overridden in the last 24 hours, by the client''s application_name.' as meaning,
  jsonb_build_object('application_name', ranked.client) as labels,
  sum(ranked.writes) as value
from ranked
group by ranked.client;

comment on view integrity.metric is
'One row per sample for monitoring: name, meaning, labels, value. All metrics are gauges. `quest-integrity metrics` prints them.';

revoke all on integrity.metric from public;
