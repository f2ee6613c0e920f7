create or replace function integrity.stand_in_for_statuses(of_relation text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  subject record;
begin
  select
    law.stand_in,
    format('%I.%I', installation.app_schema, law.relation) as relation
  into strict subject
  from integrity.law as law
  cross join integrity.installation as installation
  where
    law.relation = of_relation
    and law.name like '%\_status\_known';

  execute format(
    'create or replace trigger %I
    before insert or update of status on %s
    for each row
    when (new.status::text <> all (%L))
    execute function integrity.refuse_unknown_status(%L)',
    subject.stand_in,
    subject.relation,
    integrity.known_statuses(of_relation)::text,
    subject.stand_in
  );
  execute format(
    'comment on trigger %I on %s is %L',
    subject.stand_in,
    subject.relation,
    'Stands in for the CHECK of the same name while old rows keep it from being attached: refuses to write an unknown '
    'status, but not to save a row that has one already.'
  );
end
$$;

comment on function integrity.stand_in_for_statuses(text) is
'Creates the trigger that stands in for the CHECK on the statuses of a table of the app, or gives it the statuses that are known now.';

revoke all on function integrity.stand_in_for_statuses(text) from public;
