create or replace view integrity.guard_found as
with entry as materialized (
  select guard_table.*
  from integrity.guard_table as guard_table
  union all
  select guard_column.*
  from integrity.guard_column as guard_column
  union all
  select guard_function.*
  from integrity.guard_function as guard_function
  union all
  select guard_view.*
  from integrity.guard_view as guard_view
  union all
  select guard_trigger.*
  from integrity.guard_trigger as guard_trigger
  union all
  select guard_constraint.*
  from integrity.guard_constraint as guard_constraint
  union all
  select guard_other.*
  from integrity.guard_other as guard_other
),

-- PostgreSQL can print one definition in several ways. It names a schema depending on the search_path: remove schemas
-- here; the objects that a definition uses are compared as separate facts.
named as (
  select
    entry.*,
    recorded.expected ->> 'expression' as known,
    case
      when recorded.kind is null
        then
          replace(
            replace(entry.printed, 'integrity.', ''),
            (select quote_ident(installation.app_schema) || '.' from integrity.installation as installation),
            ''
          )
    end as short
  from entry
  -- A view that is printed exactly as recorded needs no normalization, which is slow for long texts.
  left join integrity.guard as recorded
    on
      entry.kind = recorded.kind
      and entry.identity = recorded.identity
      and entry.kind = 'view'
      and recorded.definition = format(E'create or replace view %s as\n%s', entry.identity, rtrim(entry.printed, ';'))
),

-- Versions 14 and 15 print the alias of the only item in FROM before its columns: remove it.
aliased as (
  select
    named.*,
    coalesce(
      regexp_replace(
        named.short,
        '(?<![\w".])' || coalesce(
          substring(named.short from '\n   FROM (?:[\w".]+ )?([\w"]+)(?:\n|;|$)'),
          substring(named.short from '\n   FROM .*\) ([\w"]+)(?:\([^()]*\))?(?:;|$|\n  [A-Z])')
        ) || '\.',
        '',
        'g'
      ),
      named.short
    ) as unaliased
  from named
),

-- After a dump and restore a cast of an array is printed as casts of its elements. Remove casts to text, and the
-- parentheses that this leaves around single values and arrays.
uncast as (
  select
    aliased.*,
    regexp_replace(
      regexp_replace(aliased.unaliased, '::(?:text|character varying)(?:\[\])?(?![\w([])', '', 'g'),
      '\s*\n\s*',
      ' ',
      'g'
    ) as one_line
  from aliased
),

normal as (
  select
    uncast.*,
    regexp_replace(
      regexp_replace(
        regexp_replace(uncast.one_line, '(?<![\w"])\(([\w."]+|''(?:[^'']|'''')*'')\)', '\1', 'g'),
        '(?<![\w"])\(([\w."]+|''(?:[^'']|'''')*'')\)',
        '\1',
        'g'
      ),
      '\(\((ARRAY\[[^]]*\])\)\)',
      '(\1)',
      'g'
    ) as uniform
  from uncast
)

select
  normal.kind,
  normal.identity,
  normal.object_id,
  normal.part,
  normal.facts || jsonb_strip_nulls(
    jsonb_build_object(
      'owner', case when normal.part = 0 then pg_get_userbyid(normal.owner_id) end,
      'grants', (
        select
          jsonb_agg(
            format('%s to %s', lower(privilege.privilege_name), privilege.grantee)
            order by
              convert_to(privilege.privilege_name, 'UTF8'),
              convert_to(privilege.grantee, 'UTF8')
          )
        from (
          select
            exploded.privilege_type as privilege_name,
            case exploded.grantee
              when 0 then 'public'
              when normal.owner_id then '(owner)'
              else quote_ident(pg_get_userbyid(exploded.grantee))
            end || case when exploded.is_grantable then ' with grant option' else '' end as grantee
          from aclexplode(normal.acl) as exploded
          -- MAINTAIN is new in version 17, where every owner has it.
          where not (exploded.grantee = normal.owner_id and exploded.privilege_type = 'MAINTAIN')
        ) as privilege
      ),
      'comment', (
        select description.description
        from pg_catalog.pg_description as description
        where
          description.classoid = normal.catalog_id
          and description.objoid = normal.object_id
          and description.objsubid = normal.part
      ),
      'expression', coalesce(normal.known, normal.uniform)
    )
  ) as facts
from normal;

comment on view integrity.guard_found is
'Every object of the layer as the catalog has it, in a form that is the same on every version of PostgreSQL and after a dump and restore. Compared with integrity.guard.';

revoke all on integrity.guard_found from public;
