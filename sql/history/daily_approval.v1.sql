create or replace view integrity.daily_approval as
select
  series.day::date as day,
  count(approval.id) as approvals
from generate_series((now() at time zone 'UTC')::date - 29, (now() at time zone 'UTC')::date, '1 day') as series (day)
left join integrity.event as approval
  on
    approval.kind = 'application_approved'
    and series.day = date_trunc('day', approval.at at time zone 'UTC')
    and approval.at > now() - interval '31 days'
group by series.day;

comment on view integrity.daily_approval is
'Approvals on each of the last 30 days in UTC, also days without approvals.';

revoke all on integrity.daily_approval from public;
