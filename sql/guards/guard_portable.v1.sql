create or replace view integrity.guard_portable as
select
  entry.kind || ' ' || entry.identity as name_of_entry,
  concat_ws(
    E'\n',
    entry.expected - array['owner', 'grants', 'position', 'created_tables'],
    -- Expressions are printed in more than one way.
    case when entry.kind not in ('view', 'trigger', 'row') then entry.definition end
  ) as substance
from integrity.guard as entry
where
  entry.kind not in ('manifest', 'key', 'rights')
  -- There only if the app lacks a key of its own.
  and entry.identity not like '%integrity_participant_key%'
  -- There only where rows have to be repaired first.
  and entry.stands_in_for is null;

comment on view integrity.guard_portable is
'The manifest without what depends on the server, its roles and the app: the same in every database that one version of the package has migrated.';

revoke all on integrity.guard_portable from public;
