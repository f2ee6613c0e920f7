create or replace view integrity.guard_function as
select
  case own.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end as kind,
  format('integrity.%I(%s)', own.proname, oidvectortypes(own.proargtypes)) as identity,
  'pg_proc'::regclass::oid as catalog_id,
  own.oid as object_id,
  0 as part,
  own.proowner as owner_id,
  coalesce(own.proacl, acldefault('f', own.proowner)) as acl,
  pg_get_expr(own.proargdefaults, 0) as printed,
  jsonb_strip_nulls(
    jsonb_build_object(
      'body', own.prosrc,
      'sql body', pg_get_function_sqlbody(own.oid),
      'library', own.probin,
      'language', written_in.lanname,
      'returns', pg_get_function_result(own.oid),
      'arguments', own.proargnames,
      'argument modes', own.proargmodes,
      'volatility', case own.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
      'security definer', own.prosecdef,
      'strict', own.proisstrict,
      'leakproof', own.proleakproof,
      'parallel', own.proparallel,
      'window', nullif(own.prokind = 'w', false),
      'cost', own.procost,
      'rows', nullif(own.prorows, 0),
      'settings', (
        select jsonb_agg(item.setting order by convert_to(item.setting, 'UTF8'))
        from unnest(own.proconfig) as item (setting)
      )
    )
  ) as facts
from pg_catalog.pg_proc as own
inner join pg_catalog.pg_language as written_in
  on own.prolang = written_in.oid
where own.pronamespace = to_regnamespace('integrity');

comment on view integrity.guard_function is
'The functions and procedures of the layer, as the catalog has them. Part of integrity.guard_found.';

revoke all on integrity.guard_function from public;
