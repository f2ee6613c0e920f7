create or replace function integrity.law_obstacles(constraint_name text)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  subject record;
  obstacles bigint;
begin
  select
    law.kind,
    law.columns,
    law.definition,
    format('%I.%I', installation.app_schema, law.relation) as relation
  into strict subject
  from integrity.law as law
  cross join integrity.installation as installation
  where law.name = constraint_name;

  case subject.kind
    when 'unique', 'unique index' then
      execute format(
        'select count(*)
        from (select from %1$s where (%2$s) is not null and %3$s group by %2$s having count(*) > 1) as duplicate',
        subject.relation,
        subject.columns,
        -- Of an index, which rows are in it.
        coalesce(substring(subject.definition from '^where (.*)'), 'true')
      )
      into obstacles;
    when 'check' then
      execute format(
        'select count(*) from %s where not %s',
        subject.relation,
        regexp_replace(subject.definition, '^check ', '')
      )
      into obstacles;
  end case;

  return obstacles;
end
$$;

comment on function integrity.law_obstacles(text) is
'Returns how many rows (of a CHECK) or groups of rows (of a unique key) keep a constraint of the law from being added. Refuses a foreign key.';

revoke all on function integrity.law_obstacles(text) from public;
