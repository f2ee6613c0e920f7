create or replace function integrity.refuse_unknown_status()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' then
    if new.status = old.status then
      return new;
    end if;
  end if;

  raise exception 'status % is none of the app''s values for %', quote_literal(new.status), tg_table_name
    using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      column = 'status',
      constraint = tg_argv[0],
      hint = format(
        'Write one of %s. If the app has a new one, add it first: quest-integrity statuses --add TABLE:STATUS.',
        (
          -- Not integrity.status, which is on one node of a Citus cluster only.
          select array_to_string(substring(pg_get_triggerdef(fired.oid) from '''(\{.*\})''')::text[], ', ')
          from pg_trigger as fired
          where
            fired.tgrelid = tg_relid
            and fired.tgname = tg_name
        )
      );
end
$$;

comment on function integrity.refuse_unknown_status() is
'Trigger function. Refuses to write an unknown status, but not an update that keeps it. Raises the error of the CHECK named by its argument, which old rows keep from being added.';

revoke all on function integrity.refuse_unknown_status() from public;
