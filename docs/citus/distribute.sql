-- Distributes PeerQuest's tables over the nodes of a Citus cluster, in one transaction, on the coordinator: quests by
-- their id, every table with a quest_id by that, users and categories as reference tables. Finds constraints by what
-- they are, not by their names. Writers wait until it is done.
begin;

select set_config('citus.multi_shard_modify_mode', 'sequential', true);

-- The foreign keys onto these tables. By name: Citus can put another table in the place of one.
create temporary table reference on commit drop as
select
  own.conrelid::regclass::text as relation,
  own.confrelid::regclass::text as target,
  own.conname as name,
  pg_get_constraintdef(own.oid) as definition
from pg_constraint as own
where
  own.contype = 'f'
  and own.confrelid in (
    'users_user'::regclass,
    'quests_questcategory'::regclass,
    'quests_quest'::regclass,
    'applications_application'::regclass,
    'quests_questparticipant'::regclass
  );

-- What goes with its quest.
create temporary table of_quest on commit drop as
select distinct reference.relation
from reference
where
  reference.target = 'quests_quest'
  and reference.definition like 'FOREIGN KEY (quest_id) %';

do $$
declare
  one record;
begin
  -- They come back below. With them a table that refers to a reference table would become one of Citus's local tables,
  -- and with an identity column that cannot be distributed any more.
  for one in
    select *
    from reference
  loop
    execute format('alter table %s drop constraint %I', one.relation, one.name);
  end loop;

  -- Every key has to contain the quest.
  for one in
    select
      key.conrelid::regclass as relation,
      key.conname as name,
      key.contype as kind
    from pg_constraint as key
    where
      key.contype in ('p', 'u')
      and case
        when key.conrelid = 'quests_quest'::regclass then pg_get_constraintdef(key.oid) !~ '\mid\M'
        else
          key.conrelid::regclass::text in (select of_quest.relation from of_quest)
          and pg_get_constraintdef(key.oid) !~ '\mquest_id\M'
      end
  loop
    execute format('alter table %s drop constraint %I', one.relation, one.name);

    if one.kind = 'p' then
      execute format('alter table %s add primary key (id, quest_id)', one.relation);
    end if;
  end loop;

  perform create_reference_table('users_user');
  perform create_reference_table('quests_questcategory');
  perform create_distributed_table('quests_quest', 'id');

  for one in
    select of_quest.relation
    from of_quest
  loop
    perform create_distributed_table(one.relation, 'quest_id', colocate_with => 'quests_quest');
  end loop;

  -- The rows have been copied to the nodes. What is left of them here would break every constraint of the layer.
  for one in
    select of_quest.relation
    from of_quest
    union all
    select listed.relation
    from unnest(array['quests_quest', 'users_user', 'quests_questcategory']) as listed (relation)
  loop
    perform truncate_local_data_after_distributing_table(one.relation);
  end loop;

  -- Back: those onto a table whose id is no longer a key by itself with the quest, and none from a table of the
  -- coordinator onto one of the nodes.
  for one in
    select
      reference.relation,
      reference.name,
      case
        when reference.target in ('applications_application', 'quests_questparticipant')
          then
            regexp_replace(
              reference.definition,
              'FOREIGN KEY \((\w+)\) REFERENCES (\w+)\(id\)',
              'FOREIGN KEY (quest_id, \1) REFERENCES \2(quest_id, id)'
            )
        else reference.definition
      end as definition
    from reference
    where
      reference.relation in (select of_quest.relation from of_quest)
      or reference.relation = 'quests_quest'
      or reference.target in ('users_user', 'quests_questcategory')
  loop
    execute format('alter table %s add constraint %I %s', one.relation, one.name, one.definition);
  end loop;
end
$$;

create index if not exists quests_quest_slug_idx on quests_quest (slug);

commit;
