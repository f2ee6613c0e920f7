create or replace function integrity.add_rule(
  new_rule text,
  new_severity text,
  new_category text,
  new_meaning text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  expected constant text[] := array[
    'rule text', 'severity text', 'quest_id bigint', 'user_id uuid', 'application_id bigint',
    'participant_id bigint', 'message text', 'expected jsonb', 'found jsonb', 'repair text', 'key text'
  ];
  found text[];
begin
  select
    array_agg(
      format('%s %s', attribute.attname, format_type(attribute.atttypid, attribute.atttypmod))
      order by attribute.attnum
    )
  into found
  from pg_catalog.pg_attribute as attribute
  where
    attribute.attrelid = to_regclass(format('integrity.%I', new_rule))
    and attribute.attnum > 0
    and not attribute.attisdropped;

  if found is distinct from expected then
    raise exception 'rule % has no view integrity.% with the columns of a rule', new_rule, new_rule
      using
        errcode = 'undefined_table',
        schema = 'integrity',
        table = new_rule,
        detail = format(
          'found: %s; expected: %s',
          coalesce(array_to_string(found, ', '), 'no such view'),
          array_to_string(expected, ', ')
        ),
        hint = 'Create the view first, with exactly these columns in this order.';
  end if;

  insert into integrity.rule as rule (rule, severity, category, meaning)
  values (new_rule, new_severity, new_category, new_meaning)
  on conflict (rule) do update
  set
    -- While a constraint is enforced on request, its rules are errors.
    severity = case when rule.relaxed_severity is null then excluded.severity else rule.severity end,
    relaxed_severity = case when rule.relaxed_severity is not null then excluded.severity end,
    category = excluded.category,
    meaning = excluded.meaning;

  -- The owner of integrity.violations needs SELECT on the view.
  execute format(
    'grant select on integrity.%I to %s',
    new_rule,
    (
      select class.relowner::regrole
      from pg_catalog.pg_class as class
      where class.oid = 'integrity.violations'::regclass
    )
  );

  perform integrity.assemble_violations();
end
$$;

comment on function integrity.add_rule(text, text, text, text) is
'Adds a rule, or changes the severity (error, warning or off), category and meaning of an existing one. Checks that the view integrity.<rule> has the columns of a rule, lists the rule in integrity.rule and rebuilds integrity.violations. Refuses a rule whose view is missing or has other columns.';

revoke all on function integrity.add_rule(text, text, text, text) from public;
