create or replace view integrity.guard_gap as
select
  entry.kind,
  entry.identity,
  'missing'::text as status,
  true as damage,
  false as waiting,
  'the other guards cannot be checked without it'::text as detail,
  entry.definition as mend,
  entry.position
from integrity.guard as entry
where
  (
    entry.kind = 'table'
    and entry.definition is not null
    and to_regclass(entry.identity) is null
  )
  or (
    entry.kind = 'column'
    and to_regclass(entry.expected ->> 'table') is not null
    and not exists (
      select
      from pg_catalog.pg_attribute as attribute
      where
        attribute.attrelid = to_regclass(entry.expected ->> 'table')
        and not attribute.attisdropped
        and entry.identity = format('%s.%I', entry.expected ->> 'table', attribute.attname)
    )
  );

comment on view integrity.guard_gap is
'Tables and columns of the layer that are missing. Works when integrity.guard_status does not, because it needs one of them.';

revoke all on integrity.guard_gap from public;
