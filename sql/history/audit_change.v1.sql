create or replace view integrity.audit_change as
select
  case
    when known.gone_run is not null then 'fixed'
    when known.first_run = latest.run then 'new'
    else 'old'
  end as change,
  known.rule,
  counted.severity,
  known.key,
  known.quest_id,
  known.user_id,
  known.first_seen,
  known.gone_at
from (select max(run.id) as run from integrity.audit_run as run) as latest
inner join integrity.audit_violation as known
  on known.gone_run is null or latest.run = known.gone_run
left join integrity.audit_count as counted
  on
    latest.run = counted.run
    and known.rule = counted.rule;

comment on view integrity.audit_change is
'Every violation of the last recorded audit, new or old, and the violations fixed since the audit before it. All are new in the first audit. `quest-integrity history --detailed` writes these columns.';

revoke all on integrity.audit_change from public;
