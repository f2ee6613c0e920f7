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
set jit = off
-- A few suspects are looked up through indexes; at its default, whole tables would be read for them.
set random_page_cost = 1.1
as $$
declare
  checked record;
begin
  -- Of the union PostgreSQL reads the one rule that is named, and whoever may read the union may read that.
  for checked in
    select
      listed.rule,
      suspicion.rule is not null as is_covered,
      suspicion.quests
    from integrity.rule as listed
    left join integrity.suspects() as suspicion
      on listed.rule = suspicion.rule
    order by listed.position
  loop
    if not checked.is_covered then
      return query execute format(
        'select violation.* from integrity.violations as violation where violation.rule = %L',
        checked.rule
      );
    elsif checked.quests is not null then
      return query execute format(
        'select violation.* from integrity.violations as violation'
        ' where violation.rule = %L and violation.quest_id = any($1)',
        checked.rule
      )
      using checked.quests;
    end if;
  end loop;
end
$$;

comment on function integrity.audit() is
'The rows of integrity.violations, for who wants all of them: each rule''s view is asked about its suspects only, see integrity.suspects(); a rule of your own is read in full. For one user or one quest ask integrity.violations.';

-- With the rights of who calls it: who may not read integrity.violations gets nothing from it.
grant execute on function integrity.audit() to public;
