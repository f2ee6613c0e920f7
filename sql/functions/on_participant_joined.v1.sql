create or replace function integrity.on_participant_joined()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform integrity.derive_quest(new.quest_id);
  return null;
end
$$;

comment on function integrity.on_participant_joined() is
'Trigger function. A quest that gains an active participant is derived again.';

revoke all on function integrity.on_participant_joined() from public;
