create or replace view integrity.guard_view as
with listed as materialized (
  select
    relation.relation_name,
    class.oid,
    class.relkind,
    class.relowner,
    class.reloptions,
    coalesce(class.relacl, acldefault('r', class.relowner)) as acl,
    -- integrity.violations changes when a user adds a rule.
    relation.relation_name = 'integrity.violations' as is_union,
    pg_get_viewdef(class.oid) as query
  from integrity.guard_relation as relation
  inner join pg_catalog.pg_class as class
    on relation.relation = class.oid
  where class.relkind in ('v', 'm')
),

-- The severities that integrity.violations must print.
shown as materialized (
  select array_agg(format('%I %L', known.rule, known.severity)) as severities
  from (
    select
      recorded.expected ->> 'rule' as rule,
      recorded.expected ->> 'severity' as severity
    from integrity.guard as recorded
    where
      recorded.kind = 'row'
      and recorded.identity like 'integrity.rule where %'
    union all
    select
      added.rule,
      added.severity
    from integrity.rule as added
    where
      not exists (
        select
        from integrity.guard as recorded
        where
          recorded.kind = 'row'
          and recorded.identity = format('integrity.rule where rule = %L', added.rule)
      )
  ) as known
)

select
  case listed.relkind when 'm' then 'materialized view' else 'view' end as kind,
  listed.relation_name as identity,
  'pg_class'::regclass::oid as catalog_id,
  listed.oid as object_id,
  0 as part,
  listed.relowner as owner_id,
  listed.acl,
  case when not listed.is_union then listed.query end as printed,
  jsonb_strip_nulls(
    jsonb_build_object(
      'columns', (
        select
          jsonb_agg(
            concat_ws(
              ' collate ',
              format('%I %s', attribute.attname, format_type(attribute.atttypid, attribute.atttypmod)),
              collation_used.collname
            )
            order by attribute.attnum
          )
        from pg_catalog.pg_attribute as attribute
        left join pg_catalog.pg_collation as collation_used
          on
            attribute.attcollation = collation_used.oid
            and collation_used.collname <> 'default'
        where
          attribute.attrelid = listed.oid
          and attribute.attnum > 0
      ),
      -- Options that change the result of the view; versions of PostgreSQL may store others.
      'options', (
        select
          jsonb_agg(
            format('%s=%s', item.option_name, item.option_value)
            order by item.option_name
          )
        from pg_options_to_table(listed.reloptions) as item
        where item.option_name in ('check_option', 'security_barrier', 'security_invoker')
      ),
      'reads', case
        when not listed.is_union
          then (
            select jsonb_agg(thing.identity order by convert_to(thing.identity, 'UTF8'))
            from (
              select distinct used.identity
              from pg_catalog.pg_rewrite as rewrite
              inner join pg_catalog.pg_depend as dependency
                on
                  rewrite.oid = dependency.objid
                  and dependency.classid = 'pg_rewrite'::regclass
              inner join lateral pg_identify_object(
                dependency.refclassid, dependency.refobjid, dependency.refobjsubid
              ) as used on true
              where
                rewrite.ev_class = listed.oid
                and dependency.refobjid <> listed.oid
            ) as thing
          )
      end,
      -- All parts of the union have the same form, and each rule has a part.
      'parts', case
        when listed.is_union
          then (
            select
              jsonb_agg(
                distinct regexp_replace(
                  regexp_replace(
                    replace(part.query, part.rule || '.', ''),
                    case
                      when
                        format('%s %s', part.rule, substring(part.query from '(''\w+'')::text AS severity'))
                        = any((select shown.severities from shown)::text[])
                        then '''\w+''(?=::text AS severity)'
                    end,
                    '<severity>'
                  ),
                  '(?<=\n   FROM )(integrity\.)?("[^"]+"|\w+)$',
                  '<rule>'
                )
              )
            from (
              select
                btrim(single.query, E' \n;') as query,
                substring(single.query from '\n   FROM (?:integrity\.)?("[^"]+"|\w+);?\s*$') as rule
              from regexp_split_to_table(listed.query, 'UNION ALL') as single (query)
            ) as part
          )
      end,
      'rules left out', case
        when listed.is_union
          then (
            select jsonb_agg(rule.rule order by convert_to(rule.rule, 'UTF8'))
            from integrity.rule as rule
            where
              rule.severity <> 'off'
              and not exists (
                select
                from pg_catalog.pg_rewrite as rewrite
                inner join pg_catalog.pg_depend as dependency
                  on
                    rewrite.oid = dependency.objid
                    and dependency.classid = 'pg_rewrite'::regclass
                    and dependency.refclassid = 'pg_class'::regclass
                where
                  rewrite.ev_class = listed.oid
                  and dependency.refobjid = to_regclass(format('integrity.%I', rule.rule))
              )
          )
      end
    )
  ) as facts
from listed;

comment on view integrity.guard_view is
'The views of the layer, as the catalog has them. Part of integrity.guard_found.';

revoke all on integrity.guard_view from public;
