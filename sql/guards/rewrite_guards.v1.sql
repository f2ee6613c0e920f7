create or replace function integrity.rewrite_guards(changed text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  before integrity.guard[];
  others text;
begin
  -- A change of statuses or of another rule writes it too.
  lock table integrity.guard in share row exclusive mode;

  before := array(select guard from integrity.guard as guard);

  perform integrity.record_guards();

  select string_agg(coalesce(written.identity, recorded.identity), ', ' order by written.position, recorded.position)
  into others
  from unnest(before) as recorded
  full join integrity.guard as written
    on
      recorded.kind = written.kind
      and recorded.identity = written.identity
  where
    recorded.expected is distinct from written.expected
    -- The rights follow the tables that the app has.
    and coalesce(written.kind, recorded.kind) not in ('manifest', 'rights')
    and coalesce(written.identity, recorded.identity) <> all(changed)
    -- A stand-in trigger is gone for good when its constraint is enforced.
    and not exists (
      select
      from integrity.law_status as status
      cross join integrity.installation as installation
      where
        written.kind is null
        and status.state = 'enforced'
        and recorded.stands_in_for = format('%I on %I.%I', status.name, installation.app_schema, status.relation)
    );

  if others is not null then
    raise exception 'the layer is not as its manifest says: %', others
      using
        errcode = 'object_not_in_prerequisite_state',
        hint = 'See what is damaged with quest-integrity guards, and repair that first.';
  end if;
end
$$;

comment on function integrity.rewrite_guards(text[]) is
'Writes the manifest again after a change of the objects named in changed, given as their identities in integrity.guard. Refused when anything else differs from the manifest, so that no damage is accepted.';

revoke all on function integrity.rewrite_guards(text[]) from public;
