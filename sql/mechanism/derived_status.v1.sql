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
'The status of a quest by its assignee: open without one, in-progress with one. Every other status is left alone: completed, those that integrity.add_status() added, and an unknown one, which the law refuses.';

revoke all on function integrity.derived_status(text, uuid) from public;
