create or replace function integrity.made_up_row(
  of_table regclass,
  given jsonb
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  needed record;
  made_up jsonb := given;
  referenced text;
begin
  for needed in
    select
      attribute.attname as name,
      format_type(attribute.atttypid, null) as type,
      nullif(attribute.atttypmod, -1) - 4 as length,
      kind.typtype,
      kind.typcategory,
      attribute.atttypid,
      (
        select format('select %I from %s limit 1', target.attname, reference.confrelid::regclass)
        from pg_constraint as reference
        inner join pg_attribute as target
          on
            reference.confrelid = target.attrelid
            and reference.confkey[1] = target.attnum
        where
          reference.conrelid = attribute.attrelid
          and reference.contype = 'f'
          and reference.conkey = array[attribute.attnum]
          and has_table_privilege(reference.confrelid, 'select')
        limit 1
      ) as any_referenced
    from pg_attribute as attribute
    inner join pg_type as kind
      on attribute.atttypid = kind.oid
    where
      attribute.attrelid = of_table
      and attribute.attnum > 0
      and not attribute.attisdropped
      and attribute.attnotnull
      and not attribute.atthasdef
      and attribute.attidentity = ''
      and not given ? attribute.attname
  loop
    referenced := null;

    if needed.any_referenced is not null then
      execute needed.any_referenced
      into referenced;
    end if;

    made_up := made_up || jsonb_build_object(
      needed.name,
      coalesce(
        referenced,
        case
          when needed.typtype = 'e'
            then (select min(label.enumlabel) from pg_enum as label where label.enumtypid = needed.atttypid)
          when needed.typcategory = 'S' then left(md5(random()::text), coalesce(needed.length, 32))
          when needed.typcategory = 'N' then '0'
          when needed.typcategory = 'B' then 'false'
          when needed.typcategory = 'A' then '{}'
          when needed.type in ('json', 'jsonb') then '{}'
          when needed.type = 'uuid' then gen_random_uuid()::text
          when needed.typcategory = 'D' then now()::text
        end
      )
    );
  end loop;

  return made_up;
end
$$;

comment on function integrity.made_up_row(regclass, jsonb) is
'Returns a row that can be inserted into the table: the given columns, and a value for every other column that is NOT NULL without a default. A foreign key column gets the key of an existing row. Called by integrity.probe_approval().';

revoke all on function integrity.made_up_row(regclass, jsonb) from public;
