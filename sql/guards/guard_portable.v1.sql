create or replace view integrity.guard_portable as
select
  entry.kind || ' ' || entry.identity as name_of_entry,
  concat_ws(
    E'\n',
    entry.expected - array['owner', 'grants', 'position', 'created_tables'],
    -- PostgreSQL can print an expression in several ways.
    case when entry.kind not in ('view', 'trigger', 'row') then entry.definition end
  ) as substance
from integrity.guard as entry
where
  entry.kind not in ('manifest', 'key', 'rights')
  -- Exists only where the app has no key of its own.
  and entry.identity not like '%integrity_participant_key%'
  -- Exist only where rows have to be repaired first.
  and entry.stands_in_for is null
  and not exists (
    select
    from integrity.added_entry as added
    where added.identity = entry.identity
  );

comment on view integrity.guard_portable is
'The manifest without what depends on the server, its roles and the app: the same in every database migrated by the same version of the package where the same rules are enforced.';

revoke all on integrity.guard_portable from public;
