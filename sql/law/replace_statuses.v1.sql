create or replace function integrity.replace_statuses(
  of_relation text,
  before text[]
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  after constant text[] := integrity.known_statuses(of_relation);
  subject record;
begin
  update integrity.law as law
  set definition = integrity.status_check(of_relation)
  from integrity.installation as installation
  where
    law.relation = of_relation
    and law.name like '%\_status\_known'
  returning
    law.name,
    law.stand_in,
    law.definition,
    to_regclass(format('%I.%I', installation.app_schema, law.relation)) as relation_id,
    format('%I.%I', installation.app_schema, law.relation) as relation
  into strict subject;

  -- Of each entry only what follows from the list: whatever else may be wrong stays damage.
  update integrity.guard as guard
  set
    expected = changed.expected,
    definition = integrity.row_statement(guard.identity, changed.expected)
  from (
    select
      listed.identity,
      listed.expected || jsonb_build_object('definition', subject.definition) as expected
    from integrity.guard as listed
    where
      listed.kind = 'row'
      and listed.identity = format('integrity.law where name = %L', subject.name)
  ) as changed
  where
    guard.kind = 'row'
    and guard.identity = changed.identity;

  update integrity.guard as guard
  set
    expected = guard.expected || jsonb_build_object(
      'expression',
      replace(guard.expected ->> 'expression', quote_literal(before::text), quote_literal(after::text))
    ),
    definition = replace(guard.definition, quote_literal(before::text), quote_literal(after::text))
  where
    guard.kind in ('constraint', 'trigger')
    and guard.identity = format('%I on %s', subject.name, subject.relation);

  perform integrity.seal_guards();
  perform integrity.log_event(
    'statuses_changed', null, null, null, null,
    jsonb_build_object(of_relation, before), jsonb_build_object(of_relation, after)
  );

  -- Last, since these keep writers waiting until the transaction ends.
  if exists (
    select
    from pg_trigger as stand_in
    where
      stand_in.tgrelid = subject.relation_id
      and stand_in.tgname = subject.stand_in
  ) then
    perform integrity.stand_in_for_statuses(of_relation);
  end if;

  if exists (
    select
    from pg_constraint as own
    where
      own.conrelid = subject.relation_id
      and own.conname = subject.name
  ) then
    execute format('alter table %s drop constraint %I', subject.relation, subject.name);
    execute format(
      'alter table %s add constraint %I %s not valid', subject.relation, subject.name, subject.definition
    );
  end if;
end
$$;

comment on function integrity.replace_statuses(text, text[]) is
'Makes the law of what integrity.status says now of one table, given what it said before: the definition of the CHECK, the manifest, an event, and on the table the CHECK itself, NOT VALID, or the trigger that stands in for it. For integrity.add_status() and integrity.remove_status().';

revoke all on function integrity.replace_statuses(text, text[]) from public;
