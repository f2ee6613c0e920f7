-- What the database can do on its own schedule, without quest-integrity installed anywhere: run this in the database
-- where pg_cron is (cron.database_name), as a member of integrity_operator or the layer's owner.
-- Only the owner may run the two retentions.
select cron.schedule_in_database(
  'integrity: record an audit', '17 3 * * *', $$select integrity.record_audit()$$, 'peerquest'
);
select cron.schedule_in_database(
  'integrity: forget old audits', '37 3 1 * *', $$select integrity.retain_audits('12 months')$$, 'peerquest'
);
select cron.schedule_in_database(
  'integrity: forget old events', '47 3 1 * *', $$select integrity.retain_events('24 months')$$, 'peerquest'
);
