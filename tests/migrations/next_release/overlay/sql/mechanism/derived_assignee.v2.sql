create or replace function integrity.derived_assignee(
  of_quest bigint,
  written uuid
)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- Plans are cached for the session: one made while the tables were small would scan all of them for every row.
set enable_seqscan = off
as $$
declare
  assignee uuid;
begin
  if written is not null then
    select participant.user_id
    into assignee
    from public.quests_questparticipant as participant
    where
      participant.quest_id = of_quest
      and participant.user_id = written
      and participant.status <> 'dropped'
    limit 1;
  end if;

  if assignee is null then
    select participant.user_id
    into assignee
    from public.quests_questparticipant as participant
    where
      participant.quest_id = of_quest
      and participant.status <> 'dropped'
    order by
      participant.status <> 'in_progress',
      participant.joined_at,
      participant.id
    limit 1;
  end if;

  return assignee;
end
$$;

comment on function integrity.derived_assignee(bigint, uuid) is
'Returns the assignee that a quest has by its active participants: the written one if active, else the earliest by joined_at and id of those in progress, or else of all, else NULL.';

revoke all on function integrity.derived_assignee(bigint, uuid) from public;
