create or replace function integrity.record_guards(new_rules text[] default array[]::text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- These settings change how PostgreSQL prints a definition.
set quote_all_identifiers = off
set intervalstyle = postgres
-- Compiling the query of the whole catalog would take longer than running it.
set jit = off
as $$
declare
  app constant text := (select quote_ident(installation.app_schema) from integrity.installation as installation);
  law record;
  once_enforced text[];
  any_partition text;
begin
  update integrity.rule
  set built_in = true
  where rule = any(new_rules);

  select array_agg(guard.identity)
  into once_enforced
  from integrity.guard as guard
  where
    guard.kind in ('constraint', 'index')
    and not guard.waiting;

  select min(relation.relation_name)
  into any_partition
  from integrity.guard_relation as relation
  where
    relation.origin = 'partition'
    and relation.relation_name <> 'integrity.event_default';

  delete from integrity.guard;

  -- Read the catalog entries of the constraints from empty copies of the tables: on the real tables a constraint can be
  -- missing until rows are repaired, or be altered.
  for law in
    select distinct listed.relation
    from integrity.law as listed
    where listed.chosen is not false
  loop
    execute format('create table integrity.%I (like %s.%I)', 'model_' || law.relation, app, law.relation);
  end loop;
  for law in
    select
      case listed.kind
        when 'unique index'
          then
            format(
              'create unique index %I on integrity.%I (%s) %s',
              listed.name, 'model_' || listed.relation, listed.columns, listed.definition
            )
        when 'unique'
          then
            format(
              'alter table integrity.%I add constraint %I unique (%s) %s',
              'model_' || listed.relation, listed.name, listed.columns, listed.definition
            )
        else
          format(
            'alter table integrity.%I add constraint %I %s',
            'model_' || listed.relation,
            listed.name,
            regexp_replace(listed.definition, ' references .*\.(\w+) \(', ' references integrity.model_\1 (')
          )
      end as statement
    from integrity.law as listed
    where listed.chosen is not false
    order by listed.position
  loop
    execute law.statement;
  end loop;

  insert into integrity.guard (kind, identity, expected, definition, position, waiting, stands_in_for)
  with found as (
    select
      seen.kind,
      seen.identity,
      seen.facts,
      seen.object_id,
      seen.part,
      seen.facts ->> 'table' as parent
    from integrity.guard_found as seen
  ),

  -- The constraints of the copies, with the names of the real tables.
  modelled as (
    select
      model.kind,
      case model.kind
        when 'index' then format('%s.%I', app, listed.name)
        else replace(model.identity, 'integrity.model_', app || '.')
      end as identity,
      replace(
        replace(model.facts::text, 'integrity.model_', replace(app, '"', '\"') || '.'),
        'model_',
        ''
      )::jsonb as facts,
      model.object_id,
      case listed.kind
        when 'unique'
          then
            format(
              'create unique index concurrently %I on %s.%I (%s)',
              listed.name, app, listed.relation, listed.columns
            )
        when 'unique index'
          then
            format(
              'create unique index concurrently %I on %s.%I (%s) %s',
              listed.name, app, listed.relation, listed.columns, listed.definition
            )
        else
          format(
            'alter table %s.%I add constraint %I %s not valid',
            app, listed.relation, listed.name, listed.definition
          )
      end as definition
    from found as model
    inner join integrity.law as listed
      on
        model.parent = format('integrity.%I', 'model_' || listed.relation)
        and case model.kind
          when 'constraint' then model.identity = format('%I on %s', listed.name, model.parent)
          when 'index' then model.identity = format('integrity.%I', listed.name)
        end
  ),

  observed as (
    select
      found.kind,
      found.identity,
      found.facts,
      found.object_id,
      case
        when found.kind = 'schema' then 'create schema integrity'
        when found.kind = 'table' and found.identity like 'integrity.%'
          then
            (
              select
                format(
                  'create table %s (%s)%s',
                  found.identity,
                  string_agg(
                    concat_ws(
                      ' ',
                      substr(own_column.identity, length(found.identity) + 2),
                      own_column.facts ->> 'type',
                      case when (own_column.facts ->> 'not null')::boolean then 'not null' end,
                      own_column.facts ->> 'identity',
                      'default ' || pg_get_expr(default_value.adbin, default_value.adrelid)
                    ),
                    ', ' order by own_column.part
                  ),
                  ' partition by ' || pg_get_partkeydef(found.object_id)
                )
              from found as own_column
              left join pg_catalog.pg_attrdef as default_value
                on
                  own_column.object_id = default_value.adrelid
                  and own_column.part = default_value.adnum
              where
                own_column.kind = 'column'
                and own_column.parent = found.identity
            )
        when found.kind = 'column'
          then
            concat_ws(
              ' ',
              format('alter table %s add column if not exists', found.parent),
              substr(found.identity, length(found.parent) + 2),
              found.facts ->> 'type',
              case when (found.facts ->> 'not null')::boolean then 'not null' end,
              found.facts ->> 'identity',
              (
                select 'default ' || pg_get_expr(default_value.adbin, default_value.adrelid)
                from pg_catalog.pg_attrdef as default_value
                where
                  default_value.adrelid = found.object_id
                  and default_value.adnum = found.part
              )
            )
            || case
              when found.parent like 'integrity.%' then ''
              else
                format(
                  E';\nupdate integrity.backfill set last_id = default, finished_at = null where marker = %L',
                  substr(found.identity, length(found.parent) + 2)
                )
            end
        when found.kind in ('function', 'procedure') then rtrim(pg_get_functiondef(found.object_id), E'\n')
        when found.identity = 'integrity.violations' then 'select integrity.assemble_violations()'
        when found.kind = 'view'
          then format(E'create or replace view %s as\n%s', found.identity, rtrim(pg_get_viewdef(found.object_id), ';'))
        when found.kind = 'trigger' and not found.facts ? 'of the parent' then pg_get_triggerdef(found.object_id)
        when found.identity = 'integrity.event_default' then 'select integrity.prepare_event_partitions(12)'
        when found.kind = 'row' then integrity.row_statement(found.identity, found.facts)
        when found.kind = 'backfill'
          then
            (
              select
                format(
                  'insert into integrity.backfill (relation, marker, condition) values (%L, %L, %L)',
                  backfill.relation, backfill.marker, backfill.condition
                )
              from integrity.backfill as backfill
              where backfill.relation = found.identity
            )
        when found.kind = 'key' then format('alter table %s add unique (quest_id, user_id)', found.parent)
        when found.kind = 'constraint'
          then
            format(
              'alter table %s add constraint %s %s',
              found.parent,
              left(found.identity, -length(' on ' || found.parent)),
              pg_get_constraintdef(found.object_id)
            )
        when found.kind = 'index' then replace(pg_get_indexdef(found.object_id), ' ON ONLY ', ' ON ')
      end as definition
    from found
    where
      coalesce(found.parent, found.identity) not like 'integrity.model\_%'
      -- Constraints of app tables come from modelled.
      and not (
        found.kind in ('constraint', 'index')
        and found.parent not like 'integrity.%'
      )
      and found.kind not in ('setting', 'subscription', 'role')
      and not exists (
        select
        from integrity.added_entry as added
        where
          added.identity = found.identity
          and not added.is_enforced
      )
  ),

  -- One partition of the event log stands for all; the default partition always exists and has its own entries.
  ruled as (
    select
      observed.kind,
      replace(observed.identity, any_partition, 'integrity.event_*') as identity,
      observed.facts || case
        when observed.facts ->> 'table' = any_partition then jsonb_build_object('table', 'integrity.event_*')
        else '{}'
      end as facts,
      observed.object_id,
      replace(observed.definition, any_partition, 'integrity.event_*') as definition
    from observed
    where
      coalesce(observed.facts ->> 'table', observed.identity) in (any_partition, 'integrity.event_default')
      or not exists (
        select
        from integrity.guard_relation as relation
        where
          relation.origin = 'partition'
          and relation.relation_name = coalesce(observed.facts ->> 'table', observed.identity)
      )
    union all
    select
      modelled.kind,
      modelled.identity,
      modelled.facts,
      modelled.object_id,
      modelled.definition
    from modelled
  )

  select
    ruled.kind,
    ruled.identity,
    ruled.facts,
    ruled.definition,
    -- An order in which everything can be created again: functions and views in the order of their creation.
    row_number() over (
      order by
        array_position(
          array[
            'schema', 'table', 'column', 'sequence', 'other', 'row', 'trigger', 'partition', 'backfill', 'key',
            'constraint', 'index'
          ],
          case when ruled.kind in ('view', 'function', 'procedure') then 'other' else ruled.kind end
        ),
        ruled.object_id,
        ruled.identity
    ),
    ruled.kind in ('constraint', 'index')
    and ruled.identity <> all(coalesce(once_enforced, array[]::text[]))
    and not exists (
      select
      from found
      where
        found.kind = ruled.kind
        and found.identity = ruled.identity
        and coalesce((found.facts ->> 'validated')::boolean, (found.facts ->> 'valid')::boolean)
    ),
    (
      select format('%I on %s.%I', listed.name, app, listed.relation)
      from integrity.law as listed
      where
        ruled.kind = 'trigger'
        and ruled.identity = quote_ident(listed.stand_in) || format(' on %s.%I', app, listed.relation)
    )
  from ruled;

  for law in
    select distinct listed.relation
    from integrity.law as listed
    where listed.chosen is not false
  loop
    -- CASCADE, since they reference each other.
    execute format('drop table integrity.%I cascade', 'model_' || law.relation);
  end loop;

  perform integrity.seal_guards();
end
$$;

comment on function integrity.record_guards(text[]) is
'Rewrites integrity.guard from the layer as it is now, and seals it. Last step of a migration, which passes the rules that it adds as new_rules: they are the layer''s own from then on. Called by hand, it accepts every change made to the layer: look at integrity.guard_status first.';

revoke all on function integrity.record_guards(text[]) from public;
