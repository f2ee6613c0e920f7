create or replace function integrity.enforce(of_rule text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform integrity.choose_law(integrity.law_on_request(of_rule), true);
end
$$;

comment on function integrity.enforce(text) is
'Asks for the constraints that make violations of a rule impossible, for the owner of the tables; from then on the rule is an error. integrity.law_status has the statements that build them, which quest-integrity validate runs, and quest-integrity enforce at once. Refuses a rule that is always enforced, or that no constraint enforces.';

revoke all on function integrity.enforce(text) from public;
