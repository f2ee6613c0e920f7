create or replace view integrity.guard_table as
select
  case relation.origin when 'partition' then 'partition' else 'table' end as kind,
  relation.relation_name as identity,
  case when relation.origin <> 'app' then 'pg_class'::regclass::oid end as catalog_id,
  class.oid as object_id,
  0 as part,
  case when relation.origin <> 'app' then class.relowner end as owner_id,
  case when relation.origin <> 'app' then coalesce(class.relacl, acldefault('r', class.relowner)) end as acl,
  null::text as printed,
  jsonb_strip_nulls(
    jsonb_build_object(
      'persistence', case class.relpersistence when 'p' then 'permanent' else 'not permanent' end,
      -- Of an app table, compare only what PostgreSQL reads before it enforces constraints and triggers.
      'row security', case when relation.origin <> 'app' then class.relrowsecurity end,
      'forced row security', case when relation.origin <> 'app' then class.relforcerowsecurity end,
      -- Policies would hide app rows from the mechanism and the rule views, which read with the rights of their owner.
      'rows hidden', (
        select true
        from pg_catalog.pg_class as reading
        inner join pg_catalog.pg_roles as reader
          on reading.relowner = reader.oid
        where
          relation.origin = 'app'
          and class.relrowsecurity
          and reading.oid = to_regclass('integrity.violations')
          and not reader.rolsuper
          and not reader.rolbypassrls
          and (
            class.relforcerowsecurity
            or not pg_has_role(reader.oid, class.relowner, 'usage')
          )
      ),
      'has triggers', case when relation.origin = 'app' then class.relhastriggers end,
      'checks counted', (
        select count(*) = class.relchecks
        from pg_catalog.pg_constraint as own
        where
          own.conrelid = class.oid
          and own.contype = 'c'
      ),
      'children', case
        when class.relkind = 'r'
          then (
            select jsonb_agg(format('%I.%I', schema.nspname, child.relname))
            from pg_catalog.pg_inherits as inheritance
            inner join pg_catalog.pg_class as child
              on inheritance.inhrelid = child.oid
            inner join pg_catalog.pg_namespace as schema
              on child.relnamespace = schema.oid
            where inheritance.inhparent = class.oid
          )
      end,
      'partitioned by', pg_get_partkeydef(class.oid),
      'partition indexes', case
        when relation.origin = 'partition'
          then (
            select jsonb_agg(format('%s %s', parent.relname, part_index.indisvalid) order by parent.relname)
            from pg_catalog.pg_index as part_index
            inner join pg_catalog.pg_inherits as inheritance
              on part_index.indexrelid = inheritance.inhrelid
            inner join pg_catalog.pg_class as parent
              on inheritance.inhparent = parent.oid
            where part_index.indrelid = class.oid
          )
      end,
      'column grants', case
        when relation.origin = 'partition'
          then (
            select jsonb_agg(format('%I: %s', attribute.attname, attribute.attacl) order by attribute.attname)
            from pg_catalog.pg_attribute as attribute
            where
              attribute.attrelid = class.oid
              and attribute.attacl is not null
          )
      end
    )
  ) as facts
from integrity.guard_relation as relation
inner join pg_catalog.pg_class as class
  on relation.relation = class.oid
where class.relkind in ('r', 'p')
union all
select
  'sequence' as kind,
  relation.relation_name as identity,
  'pg_class'::regclass::oid as catalog_id,
  class.oid as object_id,
  0 as part,
  class.relowner as owner_id,
  coalesce(class.relacl, acldefault('s', class.relowner)) as acl,
  null::text as printed,
  jsonb_build_object(
    'options', format(
      'increment by %s minvalue %s maxvalue %s cache %s %s',
      counter.seqincrement,
      counter.seqmin,
      counter.seqmax,
      counter.seqcache,
      case when counter.seqcycle then 'cycle' else 'no cycle' end
    )
  ) as facts
from integrity.guard_relation as relation
inner join pg_catalog.pg_class as class
  on relation.relation = class.oid
inner join pg_catalog.pg_sequence as counter
  on class.oid = counter.seqrelid
where relation.origin = 'own'
union all
select
  'schema' as kind,
  'integrity' as identity,
  'pg_namespace'::regclass::oid as catalog_id,
  schema.oid as object_id,
  0 as part,
  schema.nspowner as owner_id,
  coalesce(schema.nspacl, acldefault('n', schema.nspowner)) as acl,
  null::text as printed,
  '{}'::jsonb as facts
from pg_catalog.pg_namespace as schema
where schema.nspname = 'integrity';

comment on view integrity.guard_table is
'Tables, sequences, schema and event log partitions of the layer, and of the app''s tables what enforcement depends on, as the catalog has them. Part of integrity.guard_found.';

revoke all on integrity.guard_table from public;
