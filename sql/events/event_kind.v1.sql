create or replace view integrity.event_kind as
select
  known.kind,
  known.meaning
from (
  values
  (
    'application_approved',
    'An application became approved; after says what that made of its participant and its quest.'
  ),
  ('application_ended', 'An application stopped being approved, was deleted, or moved to another quest or user.'),
  ('participant_joined', 'A participant became active without an application.'),
  ('participant_dropped', 'A participant was dropped, deleted, or moved to another quest or user.'),
  (
    'quest_write_corrected',
    'A write of a quest''s status or assignee was overridden: before is what was written, after what was kept.'
  ),
  ('repaired', 'A repair mended a violation: before is what was found, after has the run and the violation''s key.'),
  ('undone', 'A repair of a quest was taken back: after has the run that did it and how far it came.'),
  ('events_dropped', 'The retention dropped old months of this log: before counts their events.'),
  ('detached', 'The views and triggers of the layer were dropped for a migration of the app: after counts them.'),
  ('attached', 'They were put back: before says since when they were gone.')
) as known (kind, meaning);

comment on view integrity.event_kind is
'The kinds of events in integrity.event and what each means.';

revoke all on integrity.event_kind from public;
