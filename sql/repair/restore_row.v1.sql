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
  -- A row of a quest is looked for with its quest, which on Citus says where it is.
  found_by constant jsonb not null := row_key
  || jsonb_strip_nulls(jsonb_build_object('quest_id', coalesce(after, before) -> 'quest_id'));
  same_row text;
  columns text;
  names text[];
begin
  -- The key of a table without a primary key is its whole row, which may hold NULLs.
  select
    string_agg(
      case
        when found_by -> member = 'null' then format('target.%I is null', member)
        else format('target.%1$I = (jsonb_populate_record(null::%2$s, $1)).%1$I', member, relation)
      end,
      ' and '
    )
  into same_row
  from jsonb_object_keys(found_by) as member;

  -- Generated columns cannot be written.
  select
    string_agg(
      format('%1$I = (jsonb_populate_record(null::%2$s, $2)).%1$I', attribute.attname, relation),
      ', '
    ),
    array_agg(quote_ident(attribute.attname))
  into columns, names
  from pg_catalog.pg_attribute as attribute
  where
    attribute.attrelid = relation::regclass
    and attribute.attnum > 0
    and not attribute.attisdropped
    and attribute.attgenerated = ''
    and before -> attribute.attname is distinct from after -> attribute.attname;

  if before is null then
    execute format('delete from %s as target where %s', relation, same_row)
    using found_by;
  elsif after is null then
    -- Not INSERT … SELECT, which Citus turns into a COPY, whose errors have no SQLSTATE.
    execute format(
      'insert into %s (%s) overriding system value values (%s)',
      relation,
      array_to_string(names, ', '),
      (
        select string_agg(format('(jsonb_populate_record(null::%s, $1)).%s', relation, name), ', ' order by place)
        from unnest(names) with ordinality as member (name, place)
      )
    )
    using before;
  elsif columns is not null then
    execute format('update %s as target set %s where %s', relation, columns, same_row)
    using found_by, before;
  end if;
end
$$;

comment on function integrity.restore_row(text, jsonb, jsonb, jsonb) is
'Undoes one recorded change of a row: deletes an inserted row, inserts a deleted one, or writes the old values of the changed columns.';

revoke all on function integrity.restore_row(text, jsonb, jsonb, jsonb) from public;
