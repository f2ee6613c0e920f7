create or replace function integrity.lock_statuses(of_relation text)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Whoever else changes statuses waits here; who only reads them does not.
  lock table integrity.status in share row exclusive mode;

  if integrity.known_statuses(of_relation) is null then
    raise exception 'there is no table % with statuses', coalesce(quote_literal(of_relation), 'NULL')
      using
        errcode = 'invalid_parameter_value',
        hint = format(
          'There are %s.',
          (select string_agg(distinct listed.relation, ', ' order by listed.relation) from integrity.status as listed)
        );
  end if;

  -- A change would seal, and make law of, what somebody wrote past these functions.
  if exists (
    select
    from integrity.guard_manifest as counted
    left join integrity.guard as noted
      on
        counted.kind = noted.kind
        and counted.identity = noted.identity
    where counted.facts is distinct from noted.expected
  ) or exists (
    select
    from (
      select to_jsonb(known) as facts
      from integrity.status as known
      union all
      select to_jsonb(law)
      from integrity.law as law
      where law.name like '%\_status\_known'
    ) as present
    full join (
      select guard.expected
      from integrity.guard as guard
      where
        guard.kind = 'row'
        and (
          guard.identity like 'integrity.status where %'
          or guard.identity like 'integrity.law where name = ''integrity\_%\_status\_known'''
        )
    ) as sealed
      on present.facts = sealed.expected
    where
      present.facts is null
      or sealed.expected is null
  ) then
    raise exception 'the statuses are not as the manifest has them'
      using
        errcode = 'object_not_in_prerequisite_state',
        hint = 'See quest-integrity guards; mend what is damaged first.';
  end if;

  return integrity.known_statuses(of_relation);
end
$$;

comment on function integrity.lock_statuses(text) is
'Keeps others from changing the statuses until the transaction ends, makes sure that they are as they were sealed, and returns those of one table. For integrity.add_status() and integrity.remove_status().';

revoke all on function integrity.lock_statuses(text) from public;
