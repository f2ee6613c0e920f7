create or replace function integrity.mechanism_is_off(of_quest bigint)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  this_transaction text;
  noted text;
begin
  -- Anything else is on: a misspelt value switches nothing off.
  if lower(current_setting('integrity.mechanism', true)) in ('off', 'false', 'no', '0') is not true then
    return false;
  end if;

  -- The note goes with the event when a savepoint is rolled back.
  this_transaction := pg_current_xact_id()::text;

  if current_setting('integrity.mechanism_off_in', true) is distinct from this_transaction then
    noted := set_config('integrity.mechanism_off_in', this_transaction, true);
    perform integrity.log_event('mechanism_off', of_quest, null, null, null, null, null);
  end if;

  return true;
end
$$;

comment on function integrity.mechanism_is_off(bigint) is
'Whether this session has set integrity.mechanism to off: false, no and 0 mean the same, in any case, and everything else is on. Then the triggers of the mechanism only mark, nothing is derived, created or ended, and the law decides. The triggers ask where they would have acted; the first time in a transaction it logs mechanism_off, with the quest that they would have acted on.';

revoke all on function integrity.mechanism_is_off(bigint) from public;
