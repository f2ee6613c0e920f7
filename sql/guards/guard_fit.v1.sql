create or replace view integrity.guard_fit as
select
  'column'::text as kind,
  format('%I.%I.%I', mismatch.app_schema, mismatch.relation, mismatch.attribute) as identity,
  'unfit'::text as status,
  true as damage,
  false as waiting,
  format('expected %s, found %s', mismatch.expected, mismatch.found) as detail,
  mismatch.mend,
  0::bigint as position
from integrity.column_mismatch as mismatch
where mismatch.app_schema = (select installation.app_schema from integrity.installation as installation);

comment on view integrity.guard_fit is
'Columns of the app''s tables that no longer fit the layer, so that an approval fails. Part of integrity.guard_status.';

revoke all on integrity.guard_fit from public;
