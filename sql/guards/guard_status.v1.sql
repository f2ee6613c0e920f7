create or replace view integrity.guard_status as
with recursive examined as (
  select
    compared.kind,
    compared.identity,
    compared.expected,
    compared.facts,
    compared.object_id,
    compared.definition,
    compared.waiting,
    compared.position,
    compared.parent,
    compared.differing,
    compared.detail,
    -- Whether the object has to be created again.
    not compared.differing <@ array['owner', 'grants', 'comment', 'enabled', 'validated', 'valid'] as redefined,
    case
      when compared.kind = 'column' then substr(compared.identity, length(compared.parent) + 2)
      else left(compared.identity, -length(' on ' || compared.parent))
    end as object_name,
    regexp_replace(compared.parent, '\.[^.]*$', '') as parent_schema,
    case compared.kind when 'partition' then 'table' else compared.kind end || ' ' || compared.identity as subject
  from integrity.guard_compared as compared
),

judged as (
  select
    examined.*,
    case
      when examined.expected is null
        then case when examined.kind in ('setting', 'subscription', 'role') then 'bypass' else 'unexpected object' end
      when examined.facts is null then 'missing'
      when cardinality(examined.differing) = 0 then 'ok'
      when 'enabled' = any(examined.differing) and examined.facts ->> 'enabled' = 'disabled' then 'disabled'
      when 'enabled' = any(examined.differing) and examined.facts ->> 'enabled' = 'replica' then 'replica-only'
      when 'enforced' = any(examined.differing) then 'not enforced'
      when examined.redefined or 'enabled' = any(examined.differing) then 'altered'
      when 'valid' = any(examined.differing) then 'invalid'
      when 'validated' = any(examined.differing) then 'not validated'
      when 'owner' = any(examined.differing) then 'wrong owner'
      when 'grants' = any(examined.differing) then 'wrong grants'
      else 'altered'
    end as status,
    case
      when examined.facts is not null then coalesce(examined.facts -> 'grants', '[]')
      -- PostgreSQL grants EXECUTE to PUBLIC when it creates a function.
      when examined.kind in ('function', 'procedure') then '["execute to public"]'
      else '[]'
    end as held
  from examined
),

-- A view whose columns changed can be replaced only after the views that read it are dropped.
reader as (
  select
    judged.object_id as read_id,
    judged.object_id as reader_id
  from judged
  where
    judged.kind = 'view'
    and judged.status = 'altered'
    and 'columns' = any(judged.differing)
  union
  select
    reader.read_id,
    rewrite.ev_class as reader_id
  from reader
  inner join pg_catalog.pg_depend as dependency
    on
      reader.reader_id = dependency.refobjid
      and dependency.refclassid = 'pg_class'::regclass
      and dependency.classid = 'pg_rewrite'::regclass
  inner join pg_catalog.pg_rewrite as rewrite
    on dependency.objid = rewrite.oid
)

select
  judged.kind,
  judged.identity,
  judged.status,
  judged.status <> 'ok' and not judged.waiting as damage,
  judged.waiting,
  concat_ws(
    '; ',
    case when judged.waiting and judged.status <> 'ok' then 'waits until rows are repaired' end,
    judged.detail
  ) as detail,
  -- NULL where the statement would lose rows or objects of others: a person decides.
  nullif(
    concat_ws(
      E';\n',
      mend.definition,
      case
        when
          judged.expected ? 'owner'
          and (judged.facts is null or 'owner' = any(judged.differing))
          then format('alter %s owner to %s', judged.subject, quote_ident(judged.expected ->> 'owner'))
      end,
      case
        when
          (judged.expected is not null and 'comment' = any(judged.differing))
          or (judged.expected ? 'comment' and mend.definition like 'drop %')
          then format('comment on %s is %L', judged.subject, judged.expected ->> 'comment')
      end,
      mend.grant_statements
    ),
    ''
  ) as mend,
  judged.position
from judged
inner join lateral (
  select
    case
      when judged.status = 'ok' then null
      when judged.status in ('unexpected object', 'bypass')
        then
          case
            when judged.kind = 'constraint'
              then format('alter table %s drop constraint %s', judged.parent, judged.object_name)
            when judged.kind = 'row' then 'delete from ' || judged.identity
            when judged.kind in ('trigger', 'rule', 'policy', 'index', 'function', 'procedure', 'aggregate')
              then 'drop ' || judged.subject
            when judged.kind = 'role'
              then
                (
                  select format('alter role %s %s', judged.identity, string_agg('no' || attribute.name, ' '))
                  from jsonb_object_keys(judged.facts) as attribute (name)
                )
            when judged.kind = 'setting' and judged.identity not like '% of every session'
              then
                format(
                  'alter %s reset %s',
                  substring(judged.identity from ' of (.*)'), substring(judged.identity from '^\S+')
                )
          end
      when judged.kind = 'constraint'
        then
          case
            when judged.status = 'missing' and building.is_valid
              then
                format(
                  'alter table %s add constraint %s unique using index %s %s',
                  judged.parent, judged.object_name, judged.object_name, judged.expected ->> 'deferrable'
                )
            when judged.status = 'missing' and not building.is_valid
              then format('drop index concurrently %s.%s', judged.parent_schema, judged.object_name)
            when judged.status = 'missing' then judged.definition
            when judged.redefined or 'enabled' = any(judged.differing)
              then
                concat_ws(
                  E';\n',
                  building.foreign_keys,
                  format('alter table %s drop constraint %s', judged.parent, judged.object_name),
                  -- A key is built again with CREATE INDEX CONCURRENTLY, which must run alone: in the next step.
                  case when judged.definition not like 'create unique index %' then judged.definition end
                )
            when judged.status = 'invalid'
              then format('reindex index concurrently %s.%s', judged.parent_schema, judged.object_name)
            when judged.status = 'not validated'
              then format('alter table %s validate constraint %s', judged.parent, judged.object_name)
          end
      -- A trigger inherited by a partition is repaired on the parent; on the partition it can only be enabled.
      when judged.kind = 'trigger' and not (judged.redefined and judged.definition is null)
        then
          nullif(
            concat_ws(
              E';\n',
              case when judged.redefined and judged.facts is not null then 'drop ' || judged.subject end,
              case when judged.redefined then judged.definition end,
              case
                when
                  (judged.redefined and judged.expected ->> 'enabled' <> 'origin')
                  or (not judged.redefined and 'enabled' = any(judged.differing))
                  then
                    format(
                      'alter table %s enable %strigger %s',
                      judged.parent,
                      nullif(judged.expected ->> 'enabled', 'origin') || ' ',
                      judged.object_name
                    )
              end
            ),
            ''
          )
      when judged.status = 'missing' then judged.definition
      when judged.kind = 'index' and (judged.redefined or judged.status = 'invalid')
        then format(E'drop %s;\n%s', judged.subject, judged.definition)
      when not judged.redefined then null
      when judged.kind = 'row' then format(E'delete from %s;\n%s', judged.identity, judged.definition)
      when judged.kind = 'backfill' then 'call integrity.backfill_markers()'
      when judged.kind = 'sequence' then format('alter %s %s', judged.subject, judged.expected ->> 'options')
      when judged.kind in ('function', 'procedure')
        then
          concat_ws(
            E';\n',
            case
              when judged.differing && array['returns', 'arguments', 'argument modes'] then 'drop ' || judged.subject
            end,
            judged.definition
          )
      when judged.kind = 'view'
        then
          concat_ws(
            E';\n',
            (
              select
                'drop view ' || string_agg(
                  format('%I.%I', schema.nspname, class.relname),
                  ', ' order by
                    schema.nspname,
                    class.relname
                )
              from reader
              inner join pg_catalog.pg_class as class
                on reader.reader_id = class.oid
              inner join pg_catalog.pg_namespace as schema
                on
                  class.relnamespace = schema.oid
                  and schema.nspname = 'integrity'
              where reader.read_id = judged.object_id
            ),
            judged.definition
          )
      when judged.kind in ('column', 'table', 'partition')
        then
          format('alter table %s ', coalesce(judged.parent, judged.identity))
          || nullif(
            concat_ws(
              ', ',
              case
                when 'type' = any(judged.differing)
                  then
                    format(
                      'alter column %1$s type %2$s using %1$s::%2$s',
                      judged.object_name,
                      judged.expected ->> 'type'
                    )
              end,
              case
                when 'not null' = any(judged.differing)
                  then
                    format(
                      'alter column %s %s not null',
                      judged.object_name,
                      case when (judged.expected ->> 'not null')::boolean then 'set' else 'drop' end
                    )
              end,
              case
                when 'expression' = any(judged.differing)
                  then
                    format(
                      'alter column %s %s',
                      judged.object_name,
                      coalesce('set default ' || substring(judged.definition from ' default (.*)$'), 'drop default')
                    )
              end,
              case
                when 'identity' = any(judged.differing)
                  then
                    format(
                      'alter column %s %s',
                      judged.object_name,
                      case
                        when not judged.expected ? 'identity' then 'drop identity'
                        when judged.facts ? 'identity'
                          then replace(replace(judged.expected ->> 'identity', ' as identity', ''), 'gen', 'set gen')
                        else 'add ' || (judged.expected ->> 'identity')
                      end
                    )
              end,
              case when 'persistence' = any(judged.differing) then 'set logged' end,
              case when 'row security' = any(judged.differing) then 'disable row level security' end,
              case when 'forced row security' = any(judged.differing) then 'no force row level security' end
            ),
            ''
          )
    end as definition,
    (
      select
        string_agg(
          format(
            case when altered.granting then 'grant %s%s on %s%s to %s' else 'revoke %s%s on %s%s from %s cascade' end,
            split_part(altered.item, ' to ', 1),
            case when judged.kind = 'column' then format(' (%s)', judged.object_name) end,
            case
              when judged.kind = 'rights' then ''
              when judged.kind in ('view', 'partition', 'column') then 'table '
              else judged.kind || ' '
            end,
            case when judged.kind = 'column' then judged.parent else judged.identity end,
            replace(
              case
                when altered.granting then substr(altered.item, strpos(altered.item, ' to ') + 4)
                else replace(substr(altered.item, strpos(altered.item, ' to ') + 4), ' with grant option', '')
              end,
              '(owner)',
              coalesce(judged.expected ->> 'owner', 'current_user')
            )
          ),
          E';\n' order by
            altered.granting,
            altered.item
        )
      from (
        select
          coalesce(wanted.item, held.item) as item,
          wanted.item is not null as granting
        from jsonb_array_elements_text(coalesce(judged.expected -> 'grants', '[]')) as wanted (item)
        full join jsonb_array_elements_text(judged.held) as held (item)
          on wanted.item = held.item
        where
          (judged.expected is not null or judged.kind = 'rights')
          and (judged.facts is null or 'grants' = any(judged.differing))
          and (wanted.item is null or held.item is null)
          -- The creator of an object has all rights on it.
          and (judged.facts is not null or wanted.item is null or wanted.item not like '% to (owner)')
      ) as altered
    ) as grant_statements
  from (
    select
      -- Whether the index of a missing key exists and is valid.
      (
        select key_index.indisvalid
        from pg_catalog.pg_index as key_index
        where
          key_index.indexrelid = to_regclass(format('%s.%s', judged.parent_schema, judged.object_name))
          and judged.status = 'missing'
      ) as is_valid,
      (
        select
          string_agg(
            format('alter table %s drop constraint %I', relation.relation_name, own_reference.conname),
            E';\n' order by own_reference.conname
          )
        from pg_catalog.pg_constraint as own_key
        inner join pg_catalog.pg_constraint as own_reference
          on own_key.conindid = own_reference.conindid
        inner join integrity.guard_relation as relation
          on own_reference.conrelid = relation.relation
        where
          own_key.oid = judged.object_id
          and own_key.contype = 'u'
          and own_reference.contype = 'f'
          and own_reference.conname like 'integrity\_%'
      ) as foreign_keys
  ) as building
) as mend on true
union all
select
  fit.kind,
  fit.identity,
  fit.status,
  fit.damage,
  fit.waiting,
  fit.detail,
  fit.mend,
  fit.position
from integrity.guard_fit as fit
union all
select
  detached.kind,
  detached.identity,
  detached.status,
  detached.damage,
  detached.waiting,
  detached.detail,
  detached.mend,
  detached.position
from integrity.guard_detached as detached;

comment on view integrity.guard_status is
'Every part of the layer with its status: ok, or how it differs from the manifest. damage: it differs and does not only wait for rows to be repaired (waiting). detail: what differs. mend: the SQL that repairs it, NULL where a person decides. Reads no row of the app.';

revoke all on integrity.guard_status from public;
