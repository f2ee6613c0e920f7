create or replace view integrity.attachment as
select
  detached.kind,
  detached.identity,
  detached.depth,
  coalesce(detached.definition, guard.definition) as definition,
  -- A stand-in trigger is of no more use when its constraint is enforced.
  not exists (
    select
    from integrity.law_status as status
    inner join integrity.installation as installation on true
    where
      status.state = 'enforced'
      and guard.stands_in_for = format('%I on %I.%I', status.name, installation.app_schema, status.relation)
  ) as is_needed
from integrity.detached_object as detached
left join integrity.guard as guard
  on
    detached.kind = guard.kind
    and detached.identity = guard.identity;

comment on view integrity.attachment is
'What a detached layer lacks, in the order of depth in which `quest-integrity attach` builds it: from the package''s files, and by definition what none of them makes.';

revoke all on integrity.attachment from public;
