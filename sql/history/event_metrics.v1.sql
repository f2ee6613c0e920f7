create or replace function integrity.event_metrics()
returns table (
  name text,
  meaning text,
  labels jsonb,
  value double precision
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- Not in the view: Citus plans no query that reads a distributed table beside what the other metrics read.
as $$
begin
  return query
  select
    'quest_integrity_approvals_last_day',
    'Approvals in the last 24 hours.',
    jsonb_build_object(),
    count(*)::double precision
  from integrity.event as approval
  where
    approval.kind = 'application_approved'
    and approval.at > now() - interval '1 day';

  -- Clients choose their application_name: keep the number of label values small.
  return query
  with counted as (
    select
      correction.application_name,
      count(*) as writes
    from integrity.event as correction
    where
      correction.kind = 'quest_write_corrected'
      and correction.at > now() - interval '1 day'
    group by correction.application_name
  ),

  ranked as (
    select
      counted.writes,
      case
        when row_number() over (order by counted.writes desc, counted.application_name asc) > 20 then 'all others'
        else counted.application_name
      end as client
    from counted
  )

  select
    'quest_integrity_corrections_last_day',
    'Writes of stale quest state overridden in the last 24 hours, by the client''s application_name.',
    jsonb_build_object('application_name', ranked.client),
    sum(ranked.writes)::double precision
  from ranked
  group by ranked.client;
end
$$;

comment on function integrity.event_metrics() is
'The metrics of integrity.metric that are counted in the event log.';

revoke all on function integrity.event_metrics() from public;
