create or replace function integrity.refuse_cascaded_truncate()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  context text;
  statements text;
  token text;
  is_truncate boolean := false;
  is_named boolean;
  is_seen boolean := false;
  is_meant boolean := true;
  is_cascaded boolean;
  -- The last tokens: a name is tg_argv[0], behind nothing or behind its schema and a dot, and before no dot.
  qualifier text;
  dot text;
  candidate text;
begin
  -- A shard of the table: Citus empties it when the node that it was asked on has agreed.
  if tg_table_name <> tg_argv[0] then
    return null;
  end if;

  if coalesce(current_setting('integrity.mechanism', true), '') <> '' and integrity.mechanism_is_off(null) then
    return null;
  end if;

  -- Behind our own line is the function that runs the statement, if one does, with the statement; the client sent
  -- another one then. The words around it are in the server's language.
  get diagnostics context = pg_context;
  statements := substring(context from '\n(.*)$');

  if statements is null then
    statements := current_query();
  else
    statements := regexp_replace(statements, '\n[^\n]*PL/.*$', '');
    statements := substring(statements from '(?i)\mtruncate\M.*$');
  end if;

  -- Comments, strings, quoted names, words, and what separates them. The statement ends with the text.
  for token in
    select found.parts[1]
    from
      regexp_matches(
        statements || E'\n;',
        '(--[^\n\r]*|/\*(?:[^*]|\*+[^*/])*\*+/|[eE]''(?:[^''\\]|\\.|'''')*''|''(?:[^'']|'''')*''|"(?:[^"]|"")*"'
        || '|[^\s"''();,.*/-]+|[;.])',
        'g'
      ) with ordinality as found (parts, place)
    order by found.place
  loop
    if token like '--%' or token like '/*%' then
      -- A comment within a comment ends elsewhere than it seems here.
      is_meant := is_meant and token not like '_%/*%';
      continue;
    end if;

    if is_truncate and candidate = tg_argv[0] and token <> '.' then
      is_named := is_named or dot is null or qualifier = tg_table_schema;
    end if;

    if is_truncate and token = ';' then
      is_meant := is_meant and (is_named or not is_cascaded);
      is_truncate := false;
    elsif is_truncate and lower(token) = 'cascade' then
      is_cascaded := true;
    elsif lower(token) = 'truncate' then
      is_truncate := true;
      is_seen := true;
      is_named := false;
      is_cascaded := false;
    end if;

    -- Behind a dot comes the rest of a name.
    if token = '.' then
      qualifier := candidate;
      dot := token;
      candidate := null;
      continue;
    elsif candidate is not null or dot is null then
      qualifier := null;
      dot := null;
    end if;

    candidate := lower(token);

    if token like '"%' then
      candidate := replace(substr(token, 2, length(token) - 2), '""', '"');
    end if;
  end loop;

  if not is_seen or not is_meant then
    raise exception 'TRUNCATE reaches % by CASCADE without naming it', tg_argv[0]
      using
        errcode = 'restrict_violation',
        schema = tg_table_schema,
        table = tg_argv[0],
        constraint = 'integrity_truncate_by_name',
        hint = 'Name every table to be emptied, in a statement sent alone, or set integrity.mechanism = off first.';
  end if;

  return null;
end
$$;

comment on function integrity.refuse_cascaded_truncate() is
'Trigger function. Refuses a TRUNCATE … CASCADE that does not name the table given as its argument: the foreign keys of the layer lead from participants to quests and applications, where the app''s own did not. It reads the statement, or with several in one string, or within a function, all that it can see: each TRUNCATE … CASCADE has to name the table, and what it cannot read is refused.';

revoke all on function integrity.refuse_cascaded_truncate() from public;

create or replace trigger integrity_truncate_by_name
before truncate on public.quests_quest
for each statement
execute function integrity.refuse_cascaded_truncate('quests_quest');

create or replace trigger integrity_truncate_by_name
before truncate on public.applications_application
for each statement
execute function integrity.refuse_cascaded_truncate('applications_application');

comment on trigger integrity_truncate_by_name on public.quests_quest is
'Refuses a TRUNCATE that reaches quests only by CASCADE.';

comment on trigger integrity_truncate_by_name on public.applications_application is
'Refuses a TRUNCATE that reaches applications only by CASCADE.';
