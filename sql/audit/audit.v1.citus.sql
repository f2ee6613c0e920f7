create or replace function integrity.audit()
returns table (
  rule text,
  severity text,
  quest_id bigint,
  user_id uuid,
  application_id bigint,
  participant_id bigint,
  message text,
  expected jsonb,
  found jsonb,
  repair text,
  key text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Each node reads its own shards in one pass for each rule. With conditions on the union Citus would gather the rows.
  return query
  select
    violation.rule,
    violation.severity,
    violation.quest_id,
    violation.user_id,
    violation.application_id,
    violation.participant_id,
    violation.message,
    violation.expected,
    violation.found,
    violation.repair,
    violation.key
  from integrity.violations as violation;
end
$$;

comment on function integrity.audit() is
'Returns all rows of integrity.violations. For one user or one quest, query integrity.violations.';

-- Runs with the rights of the caller, who needs SELECT on integrity.violations.
grant execute on function integrity.audit() to public;
