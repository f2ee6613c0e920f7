create or replace view integrity.dependent as
with recursive app_table as (
  select
    class.oid,
    class.relname in ('applications_application', 'quests_questparticipant', 'quests_quest') as has_triggers
  from integrity.installation as installation
  inner join pg_catalog.pg_namespace as schema
    on installation.app_schema = schema.nspname
  inner join pg_catalog.pg_class as class
    on schema.oid = class.relnamespace
  where class.relname in (select needed.relation from integrity.needed_column as needed)
),

held (class_id, object_id, depth) as (
  select
    'pg_class'::regclass::oid as class_id,
    app_table.oid as object_id,
    0 as depth
  from app_table
  union
  select
    case dependency.classid
      when 'pg_rewrite'::regclass then 'pg_class'::regclass::oid
      else dependency.classid
    end as class_id,
    coalesce(rewrite.ev_class, dependency.objid) as object_id,
    held.depth + 1 as depth
  from held
  left join pg_catalog.pg_class as class
    on
      held.object_id = class.oid
      and held.class_id = 'pg_class'::regclass
  inner join pg_catalog.pg_depend as dependency
    on
      (
        held.class_id = dependency.refclassid
        and held.object_id = dependency.refobjid
      )
      or (
        dependency.refclassid = 'pg_type'::regclass
        and class.reltype = dependency.refobjid
      )
  left join pg_catalog.pg_rewrite as rewrite
    on
      dependency.objid = rewrite.oid
      and dependency.classid = 'pg_rewrite'::regclass
  left join pg_catalog.pg_class as reading
    on rewrite.ev_class = reading.oid
  left join pg_catalog.pg_proc as routine
    on
      dependency.objid = routine.oid
      and dependency.classid = 'pg_proc'::regclass
  where
    rewrite.ev_class is distinct from held.object_id
    and dependency.classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_trigger'::regclass)
    -- What reads the app's tables and nothing of ours is the app's.
    and (
      held.depth > 0
      or coalesce(reading.relnamespace, routine.pronamespace) = to_regnamespace('integrity')
    )
),

deepest as (
  select
    held.class_id,
    held.object_id,
    max(held.depth) as depth
  from held
  where held.depth > 0
  group by
    held.class_id,
    held.object_id
)

select
  case
    when class.relkind = 'v' then 'view'
    when routine.prokind = 'f' then 'function'
    else described.type
  end as kind,
  case
    when class.relkind = 'v' then format('%I.%I', schema.nspname, class.relname)
    when routine.prokind = 'f'
      then format('%I.%I(%s)', schema.nspname, routine.proname, oidvectortypes(routine.proargtypes))
    else described.identity
  end as identity,
  deepest.object_id,
  deepest.depth,
  coalesce(schema.nspname = 'integrity' and (class.relkind = 'v' or routine.prokind = 'f'), false) as is_in_layer
from deepest
cross join lateral pg_identify_object(deepest.class_id, deepest.object_id, 0) as described
left join pg_catalog.pg_class as class
  on
    deepest.object_id = class.oid
    and deepest.class_id = 'pg_class'::regclass
left join pg_catalog.pg_proc as routine
  on
    deepest.object_id = routine.oid
    and deepest.class_id = 'pg_proc'::regclass
left join pg_catalog.pg_namespace as schema
  on schema.oid = coalesce(class.relnamespace, routine.pronamespace)
union all
-- Row triggers, also one that names no column: half of the mechanism would be worse than none.
select
  'trigger' as kind,
  format('%I on %I.%I', fired.tgname, schema.nspname, class.relname) as identity,
  fired.oid as object_id,
  -- They are built last, as soon as everything that their functions read is there.
  1000000 as depth,
  true as is_in_layer
from app_table
inner join pg_catalog.pg_class as class
  on app_table.oid = class.oid
inner join pg_catalog.pg_namespace as schema
  on class.relnamespace = schema.oid
inner join pg_catalog.pg_trigger as fired
  on class.oid = fired.tgrelid
where
  app_table.has_triggers
  and not fired.tgisinternal
  and fired.tgname like 'integrity\_%'
  and (
    fired.tgtype & 1 > 0
    or fired.tgattr <> ''
  );

comment on view integrity.dependent is
'What keeps the app''s columns from changing: views and functions of the layer that depend on them, whatever depends on those, and the row triggers. integrity.detach() drops it. depth orders it: each depends only on what has less. Reads the catalog only.';

revoke all on integrity.dependent from public;
