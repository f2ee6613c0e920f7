create or replace view integrity.guard_manifest as
select
  'manifest' as kind,
  'integrity.guard' as identity,
  jsonb_build_object(
    'entries', count(*),
    'digest', md5(
      string_agg(
        concat_ws(E'\n', sealed.kind, sealed.identity, sealed.expected, sealed.definition),
        E'\n' order by
          convert_to(sealed.kind, 'UTF8'),
          convert_to(sealed.identity, 'UTF8')
      )
    )
  ) as facts
from integrity.guard as sealed
where sealed.kind <> 'manifest';

comment on view integrity.guard_manifest is
'The number of entries of the manifest and their digest, in one row. integrity.seal_guards() records both, so that any other change of the manifest is reported.';

revoke all on integrity.guard_manifest from public;
