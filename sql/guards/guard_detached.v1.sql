create or replace view integrity.guard_detached as
select
  'layer'::text as kind,
  'integrity'::text as identity,
  'detached'::text as status,
  true as damage,
  false as waiting,
  format(
    'detached since %s: constraints refuse what the triggers would put right; attach it: quest-integrity attach',
    to_char(min(detached.at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
  ) as detail,
  null::text as mend,
  0::bigint as position
from integrity.detached_object as detached
having count(*) > 0;

comment on view integrity.guard_detached is
'One row while the layer is detached, for everything that integrity.detach() dropped. Part of integrity.guard_status.';

revoke all on integrity.guard_detached from public;
