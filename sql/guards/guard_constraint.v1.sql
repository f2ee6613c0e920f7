create or replace view integrity.guard_constraint as
with listed as (
  select
    relation.relation_name as parent,
    own.oid,
    own.conrelid,
    own.conname,
    own.contype,
    own.confrelid,
    own.conindid,
    own.confmatchtype,
    own.confupdtype,
    own.confdeltype,
    own.condeferrable,
    own.condeferred,
    own.convalidated,
    own.connoinherit,
    own.conbin,
    -- Later versions of PostgreSQL have more columns; one that is missing here has its default.
    to_jsonb(own) as whole,
    (
      select string_agg(quote_ident(attribute.attname), ', ' order by key.place)
      from unnest(own.conkey) with ordinality as key (number, place)
      inner join pg_catalog.pg_attribute as attribute
        on
          own.conrelid = attribute.attrelid
          and key.number = attribute.attnum
      where own.contype <> 'c'
    ) as own_columns,
    (
      select string_agg(quote_ident(attribute.attname), ', ' order by key.place)
      from unnest(own.confkey) with ordinality as key (number, place)
      inner join pg_catalog.pg_attribute as attribute
        on
          own.confrelid = attribute.attrelid
          and key.number = attribute.attnum
    ) as target_columns
  from integrity.guard_relation as relation
  inner join pg_catalog.pg_constraint as own
    on relation.relation = own.conrelid
  where
    -- NOT NULL, a constraint since version 18, is compared as a property of the column.
    own.contype <> 'n'
    and (
      relation.origin = 'own'
      or (
        relation.origin = 'app'
        and own.conname like 'integrity\_%'
      )
    )
)

select
  'constraint' as kind,
  format('%I on %s', listed.conname, listed.parent) as identity,
  'pg_constraint'::regclass::oid as catalog_id,
  listed.oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  case
    when listed.contype = 'c' then pg_get_expr(listed.conbin, listed.conrelid)
    when listed.contype in ('p', 'u', 'x')
      then regexp_replace(pg_get_indexdef(listed.conindid), ' WITH \([^)]*\)', '')
  end as printed,
  jsonb_strip_nulls(
    jsonb_build_object(
      'table', listed.parent,
      'rule', case listed.contype
        when 'c' then 'check'
        when 'p' then format('primary key (%s)', listed.own_columns)
        when 'u' then format('unique (%s)', listed.own_columns)
        when 'f'
          then
            format(
              'foreign key (%s) references %I.%I (%s)%s%s%s',
              listed.own_columns,
              target_schema.nspname,
              target.relname,
              listed.target_columns,
              case listed.confmatchtype when 's' then '' else ' match ' || listed.confmatchtype::text end,
              case listed.confupdtype when 'a' then '' else ' on update ' || listed.confupdtype::text end,
              case listed.confdeltype when 'a' then '' else ' on delete ' || listed.confdeltype::text end
            )
        else listed.contype::text
      end,
      'deferrable', case
        when listed.condeferred then 'deferrable initially deferred'
        when listed.condeferrable then 'deferrable'
        else 'not deferrable'
      end,
      'validated', listed.convalidated,
      'enforced', coalesce((listed.whole ->> 'conenforced')::boolean, true),
      'without overlaps', nullif((listed.whole ->> 'conperiod')::boolean, false),
      'no inherit', case when listed.contype = 'c' then nullif(listed.connoinherit, false) end,
      'nulls', case when (to_jsonb(key_index) ->> 'indnullsnotdistinct')::boolean then 'not distinct' end,
      'valid', key_index.indisvalid and key_index.indisready and key_index.indislive,
      'index', nullif(
        concat_ws(
          ' ',
          case when key_index.indisunique then 'unique' end,
          case when key_index.indisprimary then 'primary' end,
          case when key_index.indimmediate then 'immediate' end
        ),
        ''
      ),
      'checked by', checks.called_functions,
      'enabled', checks.enabled,
      -- Functions and operators that are not built in: built-in ones are not listed as dependencies.
      'uses', (
        select jsonb_agg(used.identity order by convert_to(used.identity, 'UTF8'))
        from pg_catalog.pg_depend as dependency
        cross join lateral pg_identify_object(dependency.refclassid, dependency.refobjid, 0) as used
        where
          dependency.classid = 'pg_constraint'::regclass
          and dependency.objid = listed.oid
          and dependency.refclassid in ('pg_operator'::regclass, 'pg_proc'::regclass)
      )
    )
  ) as facts
from listed
left join pg_catalog.pg_class as target
  on listed.confrelid = target.oid
left join pg_catalog.pg_namespace as target_schema
  on target.relnamespace = target_schema.oid
left join pg_catalog.pg_index as key_index
  on
    listed.conindid = key_index.indexrelid
    and listed.contype in ('p', 'u', 'x')
-- PostgreSQL enforces foreign keys and deferrable keys with internal triggers.
inner join lateral (
  select
    jsonb_agg(
      format('%s on %I.%I', fires.proname, schema.nspname, watched.relname)
      order by
        fires.proname,
        schema.nspname,
        watched.relname
    ) as called_functions,
    case
      when bool_and(fired.tgenabled = 'O') then 'origin'
      when bool_or(fired.tgenabled = 'D') then 'disabled'
      when bool_or(fired.tgenabled = 'R') then 'replica'
      when bool_or(fired.tgenabled = 'A') then 'always'
    end as enabled
  from pg_catalog.pg_trigger as fired
  inner join pg_catalog.pg_proc as fires
    on fired.tgfoid = fires.oid
  inner join pg_catalog.pg_class as watched
    on fired.tgrelid = watched.oid
  inner join pg_catalog.pg_namespace as schema
    on watched.relnamespace = schema.oid
  where fired.tgconstraint = listed.oid
) as checks on true;

comment on view integrity.guard_constraint is
'The constraints of the layer and PostgreSQL''s internal triggers that enforce them, as the catalog has them. Part of integrity.guard_found.';

revoke all on integrity.guard_constraint from public;
