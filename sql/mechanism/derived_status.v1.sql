create or replace function integrity.derived_status(
  written text,
  assignee uuid
)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when written not in ('open', 'in-progress') then written
      when assignee is null then 'open'
      else 'in-progress'
    end
$$;

comment on function integrity.derived_status(text, uuid) is
'Returns the status that a quest has by its assignee: open without one, in-progress with one. Returns every other status as it is: completed, those that integrity.add_status() added, and unknown ones.';

revoke all on function integrity.derived_status(text, uuid) from public;
