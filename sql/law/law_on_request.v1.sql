create or replace function integrity.law_on_request(of_rule text)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  names text[];
begin
  -- One change at a time.
  lock table integrity.law in share row exclusive mode;

  if not exists (select from integrity.rule as rule where rule.rule = of_rule) then
    raise exception 'there is no rule %', coalesce(quote_literal(of_rule), 'NULL')
      using
        errcode = 'undefined_object',
        hint = 'The table integrity.rule lists the rules.';
  end if;

  select array_agg(law.name order by law.position)
  into names
  from integrity.law as law
  where
    of_rule = any(law.rules)
    and law.chosen is not null;

  if names is not null then
    return names;
  end if;

  if exists (select from integrity.law as law where of_rule = any(law.rules)) then
    raise exception 'rule % is always enforced', of_rule
      using
        errcode = 'object_not_in_prerequisite_state',
        hint = 'The view integrity.law_status says how far.';
  end if;

  raise exception 'no constraint can enforce rule %', of_rule
    using
      errcode = 'feature_not_supported',
      hint = 'A constraint reads one row or a key, and this rule needs more; for a rule of your own, '
      'add its constraint to integrity.law first.';
end
$$;

comment on function integrity.law_on_request(text) is
'Returns the constraints that enforce a rule on request. Refuses a rule that is always enforced, or that no constraint enforces. For integrity.enforce() and integrity.relax().';

revoke all on function integrity.law_on_request(text) from public;
