create or replace view integrity.added_entry as
select
  unnest(
    array[
      format('integrity.rule where rule = %L', added.rule),
      format('integrity.%I', added.rule),
      format('integrity.%I(bigint[], text[], jsonb)', 'repair_' || added.rule)
    ]
  ) as identity,
  (
    select count(*) > 0
    from integrity.law as law
    where
      added.rule = any(law.rules)
      and law.chosen is not false
  ) as is_enforced
from integrity.rule as added
where not added.built_in
union all
select
  unnest(
    array[
      format('integrity.law where name = %L', added.name),
      format('%I on %I.%I', added.name, installation.app_schema, added.relation),
      format('%I.%I', installation.app_schema, added.name)
    ]
  ) as identity,
  added.chosen is not false as is_enforced
from integrity.law as added
cross join integrity.installation as installation
where not added.built_in;

comment on view integrity.added_entry is
'What rules and constraints of a user''s own are called in integrity.guard, where they are while they are enforced.';

revoke all on integrity.added_entry from public;
