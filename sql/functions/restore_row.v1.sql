create or replace function integrity.restore_row(
  relation text,
  row_key jsonb,
  before jsonb,
  after jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  same_row text;
  changed text;
begin
  select string_agg(format('target.%1$I = (jsonb_populate_record(null::%2$s, $1)).%1$I', member, relation), ' and ')
  into same_row
  from jsonb_object_keys(row_key) as member;

  if before is null then
    execute format('delete from %s as target where %s', relation, same_row)
    using row_key;
  elsif after is null then
    execute format(
      'insert into %1$s overriding system value select * from jsonb_populate_record(null::%1$s, $1)',
      relation
    )
    using before;
  else
    select string_agg(format('%1$I = (jsonb_populate_record(null::%2$s, $2)).%1$I', member, relation), ', ')
    into changed
    from jsonb_object_keys(before) as member
    where before -> member is distinct from after -> member;

    execute format('update %s as target set %s where %s', relation, changed, same_row)
    using row_key, before;
  end if;
end
$$;

comment on function integrity.restore_row(text, jsonb, jsonb, jsonb) is
'Takes one recorded row change back: deletes a new row, inserts a removed one, writes the changed columns'' old values.';

revoke all on function integrity.restore_row(text, jsonb, jsonb, jsonb) from public;
