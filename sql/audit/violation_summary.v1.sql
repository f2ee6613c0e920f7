create or replace view integrity.violation_summary as
select
  rule.rule,
  rule.severity,
  rule.category,
  count(violation.key) as violations,
  count(distinct violation.quest_id) as quests,
  count(distinct violation.user_id) as users
from integrity.rule as rule
left join integrity.audit() as violation
  on rule.rule = violation.rule
group by
  rule.rule,
  rule.severity,
  rule.category,
  rule.position
order by rule.position;

comment on view integrity.violation_summary is
'One row per rule, zero counts included: violations, and the quests and users they concern.';

revoke all on integrity.violation_summary from public;
