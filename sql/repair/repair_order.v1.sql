create or replace view integrity.repair_order as
select
  rule.rule,
  row_number() over (
    order by
      case rule.rule
        -- First duplicates, then participants, then what is derived from them.
        when 'duplicate_participant' then 1
        when 'duplicate_approval' then 2
        when 'approved_without_participant' then 3
        else 4
      end,
      rule.position
  ) as position,
  -- The option without which a person has not decided to repair this rule at all.
  case rule.rule when 'participant_without_approval' then 'unapproved' end as option
from integrity.rule as rule
inner join pg_catalog.pg_proc as repair
  on repair.proname = 'repair_' || rule.rule
inner join pg_catalog.pg_namespace as schema
  on
    repair.pronamespace = schema.oid
    and schema.nspname = 'integrity';

comment on view integrity.repair_order is
'The rules that have a repair function, integrity.repair_<rule>, in the order in which they are repaired. option: only runs that were started with it repair the rule.';

revoke all on integrity.repair_order from public;
