create or replace view integrity.violation_summary as
select
  rule.rule,
  rule.severity,
  rule.built_in,
  rule.category,
  count(violation.key) as violations,
  count(distinct violation.quest_id) as quests,
  count(distinct violation.user_id) as users
from integrity.rule as rule
left join integrity.audit() as violation
  on rule.rule = violation.rule
where rule.severity <> 'off'
group by
  rule.rule,
  rule.severity,
  rule.built_in,
  rule.category,
  rule.position
order by rule.position;

comment on view integrity.violation_summary is
'One row per rule that is not off, also for rules without violations: how many violations, and how many quests and users they concern. built_in: the rule is the layer''s own.';

revoke all on integrity.violation_summary from public;
