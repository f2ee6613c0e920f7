create or replace view integrity.repair_effect as
select
  change.run,
  change.quest_id,
  change.relation,
  change.row_key,
  min(change.number) as number,
  array_agg(distinct change.rule) as rules,
  (array_agg(change.before order by change.number))[1] as before,
  (array_agg(change.after order by change.number desc))[1] as after
from integrity.repair_change as change
group by
  change.run,
  change.quest_id,
  change.relation,
  change.row_key
having
  (array_agg(change.before order by change.number))[1]
  is distinct from (array_agg(change.after order by change.number desc))[1];

comment on view integrity.repair_effect is
'What a repair or undo changed in each row as a whole: its state before the first change and after the last. Leaves out a row that ended as it began.';

revoke all on integrity.repair_effect from public;
