create or replace function integrity.assemble_violations()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  union_of_rules text;
begin
  select
    string_agg(
      format(
        'select
          rule, %L::text as severity, quest_id, user_id, application_id, participant_id, message, expected, found,
          repair, key
        from integrity.%I',
        rule.severity,
        rule.rule
      ),
      ' union all ' order by rule.position
    )
  into union_of_rules
  from integrity.rule as rule
  where rule.severity <> 'off';

  execute 'create or replace view integrity.violations as ' || union_of_rules;
  comment on view integrity.violations is
  'One row per violation of each rule in integrity.rule that is not off. Empty when there is no violation.';
  revoke all on integrity.violations from public;
end
$$;

comment on function integrity.assemble_violations() is
'Rebuilds integrity.violations as the union of the views of the rules that are not off, with their severities in integrity.rule.';

revoke all on function integrity.assemble_violations() from public;
