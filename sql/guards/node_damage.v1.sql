create or replace function integrity.node_damage()
returns table (
  kind text,
  identity text,
  status text,
  detail text,
  mend text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  wanted jsonb;
  question text;
begin
  if to_regclass('pg_catalog.pg_dist_partition') is null then
    return;
  end if;

  select jsonb_agg(to_jsonb(part))
  into wanted
  from (
    select
      'trigger' as kind,
      relation.relation_name as relation,
      fired.tgname::text as name,
      fired.tgenabled::text as state,
      format(
        E'%s;\nalter table %s enable %strigger %I',
        regexp_replace(pg_get_triggerdef(fired.oid), '^CREATE', 'create or replace'),
        relation.relation_name,
        case fired.tgenabled when 'A' then 'always ' end,
        fired.tgname
      ) as mend
    from integrity.guard_relation as relation
    inner join pg_trigger as fired
      on
        relation.relation = fired.tgrelid
        -- Only those for each row are on the shards.
        and fired.tgtype & 1 > 0
        and fired.tgname like 'integrity\_%'
    union all
    select
      'constraint' as kind,
      relation.relation_name as relation,
      own.conname::text as name,
      concat_ws(' ', own.convalidated, own.condeferrable, own.condeferred) as state,
      -- Once dropped everywhere it is built again like any that is missing.
      case
        when own.contype in ('c', 'f')
          then format('alter table %s drop constraint if exists %I', relation.relation_name, own.conname)
      end as mend
    from integrity.guard_relation as relation
    inner join pg_constraint as own
      on
        relation.relation = own.conrelid
        and own.conname like 'integrity\_%'
    union all
    select
      'function' as kind,
      null as relation,
      function.oid::regprocedure::text as name,
      md5(concat_ws(' ', function.prosrc, function.prosecdef, function.proconfig)) as state,
      pg_get_functiondef(function.oid) as mend
    from pg_proc as function
    where function.pronamespace = 'integrity'::regnamespace
  ) as part;

  -- Each node compares what it has: functions, and of each of its shards triggers and constraints.
  question := format(
    $question$
    select coalesce(jsonb_agg(to_jsonb(compared)) filter (where compared.found is distinct from compared.state), '[]')
    from (
      select
        part.*,
        shard.shardid,
        case part.kind
          when 'function' then
            (
              select md5(concat_ws(' ', function.prosrc, function.prosecdef, function.proconfig))
              from pg_proc as function
              where function.oid = to_regprocedure(part.name)
            )
          when 'trigger' then
            (
              select fired.tgenabled::text
              from pg_trigger as fired
              where
                fired.tgrelid = to_regclass(shard_name(shard.logicalrelid, shard.shardid))
                -- A shard of a partition has the name with the number of its parent.
                and regexp_replace(fired.tgname, '_[0-9]+$', '') = part.name
            )
          else
            (
              select concat_ws(' ', own.convalidated, own.condeferrable, own.condeferred)
              from pg_constraint as own
              where
                own.conrelid = to_regclass(shard_name(shard.logicalrelid, shard.shardid))
                -- A shard that has moved has CHECKs without its number.
                and regexp_replace(own.conname, '_[0-9]+$', '') = part.name
            )
        end as found
      from jsonb_to_recordset(%L) as part (kind text, relation text, name text, state text, mend text)
      left join (
        select
          known.logicalrelid,
          known.shardid
        from pg_dist_shard as known
        inner join pg_dist_placement as placement
          on known.shardid = placement.shardid
        inner join pg_dist_local_group as here
          on placement.groupid = here.groupid
      ) as shard
        on shard.logicalrelid = to_regclass(part.relation)
      where
        part.kind = 'function'
        or shard.shardid is not null
    ) as compared
    $question$,
    wanted
  );

  return query
  select
    'distribution',
    mismatch.subject,
    'unfit',
    format(
      'expected %s, found %s; distribute the tables before the layer is attached', mismatch.expected, mismatch.found
    ),
    null::text
  from integrity.installation as installation
  cross join integrity.distribution_mismatches(installation.app_schema) as mismatch;

  return query execute
  $answer$
  select
    difference.kind,
    format(
      '%s%s on %s:%s',
      difference.name,
      format(' on %s, shard %s', difference.relation, difference.shardid),
      node.nodename,
      node.nodeport
    ),
    'differs on a node',
    format('the coordinator has %s, the node %s', difference.state, coalesce(difference.found, 'nothing')),
    difference.mend
  from run_command_on_all_nodes($1) as answer
  inner join pg_dist_node as node
    on answer.nodeid = node.nodeid
  cross join lateral jsonb_to_recordset(
    case
      when answer.success then answer.result::jsonb
      else jsonb_build_array(jsonb_build_object('kind', 'node', 'name', answer.result))
    end
  ) as difference (kind text, relation text, shardid bigint, name text, state text, mend text, found text)
  $answer$
  using question;
end
$$;

comment on function integrity.node_damage() is
'On Citus, tables that are distributed otherwise than the layer needs, and what the nodes have otherwise than the coordinator: triggers and constraints of the layer on each shard, and its functions. The statement that repairs it (mend) is for the coordinator. Returns no rows without Citus. `quest-integrity guards` lists them beside integrity.guard_status.';

revoke all on function integrity.node_damage() from public;
