create or replace function integrity.detach()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
-- These change how PostgreSQL prints a definition.
set quote_all_identifiers = off
set intervalstyle = postgres
as $$
declare
  app constant text := (select quote_ident(installation.app_schema) from integrity.installation as installation);
  was_detached boolean;
  found text;
  drops text[];
  statement text;
begin
  -- Of an upgrade, and of another that detaches or attaches.
  if not pg_try_advisory_xact_lock(487300887412) then
    raise exception 'another upgrade, detach or attach is running on this database'
      using errcode = 'lock_not_available';
  end if;

  -- In the order in which the app writes them.
  execute format(
    'lock table %1$s.applications_application, %1$s.quests_questparticipant, %1$s.quests_quest
    in access exclusive mode',
    app
  );

  was_detached := exists (select from integrity.detached_object);

  -- Only a trigger stands in for these, and it would go.
  select string_agg(status.name, ', ' order by status.position)
  into found
  from integrity.law_status as status
  where
    status.state not in ('enforced', 'not validated', 'stood in for')
    and status.chosen is null;

  if found is not null and not was_detached then
    raise exception 'only triggers stand in for these constraints, and they would go: %', found
      using
        errcode = 'object_not_in_prerequisite_state',
        hint = 'Repair the rows that stand in their way, then run `quest-integrity validate`.';
  end if;

  select string_agg(format('%s %s', dependent.kind, dependent.identity), ', ' order by dependent.identity)
  into found
  from integrity.dependent as dependent
  where not dependent.is_in_layer;

  if found is not null then
    raise exception 'these depend on views of the layer and could not be put back: %', found
      using
        errcode = 'dependent_objects_still_exist',
        hint = 'Drop them, and create them again when the layer is attached.';
  end if;

  insert into integrity.detached_object (kind, identity, depth, definition, owner, grants)
  select
    dependent.kind,
    dependent.identity,
    dependent.depth,
    -- What somebody added is in no file of the package.
    case
      when
        not exists (
          select
          from integrity.guard as guard
          where
            guard.kind = dependent.kind
            and guard.identity = dependent.identity
        )
        then
          case dependent.kind
            when 'view'
              then
                format(
                  E'create view %s%s as\n%s',
                  dependent.identity,
                  ' with (' || array_to_string(class.reloptions, ', ') || ')',
                  pg_get_viewdef(class.oid)
                )
            when 'function' then pg_get_functiondef(dependent.object_id)
            else pg_get_triggerdef(dependent.object_id)
          end
          || (
            select
              coalesce(
                string_agg(
                  format(
                    E';\ncomment on %s is %L',
                    case
                      when described.objsubid = 0 then format('%s %s', dependent.kind, dependent.identity)
                      else format('column %s.%I', dependent.identity, attribute.attname)
                    end,
                    described.description
                  ),
                  ''
                ),
                ''
              )
            from pg_catalog.pg_description as described
            left join pg_catalog.pg_attribute as attribute
              on
                described.objoid = attribute.attrelid
                and described.objsubid = attribute.attnum
                and dependent.kind = 'view'
            where
              described.objoid = dependent.object_id
              and described.classoid = case dependent.kind
                when 'view' then 'pg_class'::regclass
                when 'function' then 'pg_proc'::regclass
                else 'pg_trigger'::regclass
              end
          )
    end as definition,
    pg_get_userbyid(coalesce(class.relowner, routine.proowner)) as owner,
    (
      select
        jsonb_agg(
          jsonb_build_object(
            'privilege', held.privilege_type,
            'column', held.attribute,
            'grantee', case held.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(held.grantee)) end,
            'role', nullif(held.grantee, 0)::regrole,
            'grantable', held.is_grantable
          )
        )
      from (
        select
          whole.*,
          null::name as attribute
        from aclexplode(coalesce(class.relacl, routine.proacl)) as whole
        union all
        select
          single.*,
          attribute.attname as attribute
        from pg_catalog.pg_attribute as attribute
        cross join lateral aclexplode(attribute.attacl) as single
        where attribute.attrelid = class.oid
      ) as held
      where held.grantee <> coalesce(class.relowner, routine.proowner)
    ) as grants
  from integrity.dependent as dependent
  left join pg_catalog.pg_class as class
    on
      dependent.object_id = class.oid
      and dependent.kind = 'view'
  left join pg_catalog.pg_proc as routine
    on
      dependent.object_id = routine.oid
      and dependent.kind = 'function'
  -- Left from an attach that was stopped halfway.
  on conflict (kind, identity) do nothing;

  -- Read whole first: a query goes on reading what its loop drops.
  drops := array(
    select format('drop %s %s', dependent.kind, dependent.identity)
    from integrity.dependent as dependent
    order by
      dependent.depth desc,
      dependent.identity asc
  );

  foreach statement in array drops loop
    execute statement;
  end loop;

  if not was_detached then
    perform integrity.log_event(
      'detached', null, null, null, null, null, jsonb_build_object('objects', cardinality(drops))
    );
  end if;

  return cardinality(drops);
end
$$;

comment on function integrity.detach() is
'Drops what integrity.dependent lists, so that a migration can change the app''s columns; constraints and markers stay, and refuse what the triggers would have put right. Returns how many objects that were, 0 when the layer was detached already. `quest-integrity attach` puts them back.';

revoke all on function integrity.detach() from public;
