create or replace view integrity.guard_trigger as
select
  'trigger' as kind,
  format('%I on %s', fired.tgname, relation.relation_name) as identity,
  'pg_trigger'::regclass::oid as catalog_id,
  fired.oid as object_id,
  0 as part,
  null::oid as owner_id,
  null::aclitem[] as acl,
  substring(pg_get_triggerdef(fired.oid) from ' WHEN \((.*)\) EXECUTE (?:FUNCTION|PROCEDURE) ') as printed,
  jsonb_strip_nulls(
    jsonb_build_object(
      'table', relation.relation_name,
      'fires', concat_ws(
        ' ',
        case when fired.tgtype & 2 > 0 then 'before' when fired.tgtype & 64 > 0 then 'instead of' else 'after' end,
        concat_ws(
          ' or ',
          case when fired.tgtype & 4 > 0 then 'insert' end,
          case when fired.tgtype & 8 > 0 then 'delete' end,
          case when fired.tgtype & 16 > 0 then 'update' end,
          case when fired.tgtype & 32 > 0 then 'truncate' end
        ),
        case when fired.tgtype & 1 > 0 then 'for each row' else 'for each statement' end
      ),
      'columns', (
        select jsonb_agg(attribute.attname order by convert_to(attribute.attname::text, 'UTF8'))
        from pg_catalog.pg_attribute as attribute
        where
          attribute.attrelid = fired.tgrelid
          and attribute.attnum = any(fired.tgattr)
      ),
      'function', format('%I.%I', schema.nspname, fires.proname),
      'arguments', nullif(encode(fired.tgargs, 'escape'), ''),
      'enabled', case fired.tgenabled
        when 'O' then 'origin'
        when 'D' then 'disabled'
        when 'R' then 'replica'
        when 'A' then 'always'
      end,
      'constraint', nullif(fired.tgconstraint <> 0, false),
      'deferrable', nullif(fired.tgdeferrable, false),
      'deferred', nullif(fired.tginitdeferred, false),
      'old table', fired.tgoldtable,
      'new table', fired.tgnewtable,
      'of the parent', nullif(fired.tgparentid <> 0, false),
      -- Functions and operators that are not built in: built-in ones are not listed as dependencies.
      'uses', (
        select jsonb_agg(used.identity order by convert_to(used.identity, 'UTF8'))
        from pg_catalog.pg_depend as dependency
        cross join lateral pg_identify_object(dependency.refclassid, dependency.refobjid, 0) as used
        where
          dependency.classid = 'pg_trigger'::regclass
          and dependency.objid = fired.oid
          and dependency.refclassid in ('pg_operator'::regclass, 'pg_proc'::regclass)
          and dependency.refobjid <> fired.tgfoid
      )
    )
  ) as facts
from integrity.guard_relation as relation
inner join pg_catalog.pg_trigger as fired
  on relation.relation = fired.tgrelid
inner join pg_catalog.pg_proc as fires
  on fired.tgfoid = fires.oid
inner join pg_catalog.pg_namespace as schema
  on fires.pronamespace = schema.oid
where
  -- Before version 15, triggers inherited by a partition count as internal.
  (not fired.tgisinternal or (fired.tgparentid <> 0 and fired.tgconstraint = 0))
  and (
    relation.origin <> 'app'
    or fired.tgname like 'integrity\_%'
    or schema.nspname = 'integrity'
  );

comment on view integrity.guard_trigger is
'The triggers of the layer, as the catalog has them. Part of integrity.guard_found.';

revoke all on integrity.guard_trigger from public;
