create or replace function integrity.choose_law(
  names text[],
  wanted boolean
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  concerned text[];
  before jsonb;
  after jsonb;
  changed text[];
begin
  update integrity.law
  set chosen = wanted
  where
    name = any(names)
    and chosen <> wanted;

  if not found then
    return;
  end if;

  concerned := array(
    select distinct unnest(law.rules)
    from integrity.law as law
    where law.name = any(names)
  );

  select jsonb_object_agg(rule.rule, rule.severity)
  into before
  from integrity.rule as rule
  where rule.rule = any(concerned);

  update integrity.rule as rule
  set
    severity = case when enforced.is_chosen then 'error' else coalesce(rule.relaxed_severity, rule.severity) end,
    relaxed_severity = case when enforced.is_chosen then coalesce(rule.relaxed_severity, rule.severity) end
  from (
    select
      listed.rule,
      (
        select count(*) > 0
        from integrity.law as law
        where
          listed.rule = any(law.rules)
          and law.chosen
      ) as is_chosen
    from integrity.rule as listed
  ) as enforced
  where
    rule.rule = any(concerned)
    and rule.rule = enforced.rule;

  select jsonb_object_agg(rule.rule, rule.severity)
  into after
  from integrity.rule as rule
  where rule.rule = any(concerned);

  perform integrity.assemble_violations();

  -- Rules and constraints of a user's own enter the manifest when they are enforced, and leave it when they are not.
  changed := array(
    select
      unnest(
        array[
          format('integrity.law where name = %L', law.name),
          format('%I on %I.%I', law.name, installation.app_schema, law.relation),
          format('%I.%I', installation.app_schema, law.name)
        ]
      )
    from integrity.law as law
    cross join integrity.installation as installation
    where law.name = any(names)
    union all
    select
      unnest(
        array[
          format('integrity.rule where rule = %L', listed.rule),
          format('integrity.%I', listed.rule),
          format('integrity.%I(bigint[], text[], jsonb)', 'repair_' || listed.rule)
        ]
      )
    from unnest(concerned) as listed (rule)
  );

  perform integrity.rewrite_guards(changed);

  perform integrity.log_event(
    case when wanted then 'rule_enforced' else 'rule_relaxed' end,
    null, null, null, null,
    before,
    after
  );
end
$$;

comment on function integrity.choose_law(text[], boolean) is
'Asks for constraints of the law that are enforced on request, or no longer: notes it in integrity.law, makes their rules errors or gives back their severity, writes integrity.violations and the manifest again, and logs it. Does nothing where that is so already. For integrity.enforce() and integrity.relax().';

revoke all on function integrity.choose_law(text[], boolean) from public;
