create or replace view integrity.daily_approval as
with counted as (
  select
    date_trunc('day', approval.at at time zone 'UTC') as day,
    count(*) as approvals
  from integrity.event as approval
  where
    approval.kind = 'application_approved'
    and approval.at > now() - interval '31 days'
  group by date_trunc('day', approval.at at time zone 'UTC')
)

select
  series.day::date as day,
  coalesce(counted.approvals, 0) as approvals
from generate_series((now() at time zone 'UTC')::date - 29, (now() at time zone 'UTC')::date, '1 day') as series (day)
left join counted
  on series.day = counted.day;

comment on view integrity.daily_approval is
'Approvals on each of the last 30 days in UTC, also days without approvals.';

revoke all on integrity.daily_approval from public;
