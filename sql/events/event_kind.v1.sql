create or replace view integrity.event_kind as
select
  known.kind,
  known.meaning
from (
  values
  (
    'application_approved',
    'An application became approved; after has the resulting state of its participant and its quest.'
  ),
  ('application_ended', 'An application stopped being approved, was deleted, or moved to another quest or user.'),
  ('participant_joined', 'A participant became active without an application.'),
  ('participant_dropped', 'A participant was dropped, deleted, or moved to another quest or user.'),
  (
    'quest_write_corrected',
    'A stale or impossible status or assignee of a quest was overridden: before is what was written, after what stayed.'
  ),
  (
    'mechanism_off',
    'A transaction wrote with integrity.mechanism set to off: nothing was derived, created or ended for it. Once each.'
  ),
  ('repaired', 'A repair fixed a violation: before is what was found, after has the run and the violation''s key.'),
  ('undone', 'A repair of a quest was undone: after has the undo run and its outcome.'),
  ('events_dropped', 'integrity.retain_events() dropped old months of this log: before counts the events of each.'),
  ('statuses_changed', 'A status of the app was added or removed: before and after have the known ones of its table.'),
  ('rule_enforced', 'Somebody asked for the constraints of a rule: before and after have the severities of its rules.'),
  ('rule_relaxed', 'They were dropped: before and after have the severities.'),
  ('detached', 'The views and triggers of the layer were dropped for a migration of the app: after counts them.'),
  ('attached', 'They were put back: before says since when they were gone.')
) as known (kind, meaning);

comment on view integrity.event_kind is
'The kinds of events in integrity.event and what each means.';

revoke all on integrity.event_kind from public;
