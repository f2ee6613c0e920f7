create or replace view integrity.guard_compared as
with concerned as (
  select
    class.oid,
    format('table %I.%I', schema.nspname, class.relname) as identity
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_namespace as schema
    on class.relnamespace = schema.oid
),

named as (
  select
    guard.kind,
    guard.identity,
    guard.expected,
    guard.definition,
    guard.position,
    guard.waiting,
    guard.stands_in_for
  from integrity.guard as guard
  where
    guard.identity not like '%integrity.event\_*'
    and guard.kind <> 'rights'
  union all
  -- The app may drop a table that references participants, and the grants on it go with it: expect grants only on what
  -- exists. Compare names, since to_regclass() fails for a role without USAGE on the schema.
  select
    guard.kind,
    guard.identity,
    jsonb_build_object('grants', jsonb_agg(given.item order by convert_to(given.item, 'UTF8'))) as expected,
    guard.definition,
    guard.position,
    guard.waiting,
    guard.stands_in_for
  from integrity.guard as guard
  cross join lateral jsonb_array_elements_text(guard.expected -> 'grants') as given (item)
  left join concerned
    on guard.identity = concerned.identity
  left join pg_catalog.pg_attribute as attribute
    on
      concerned.oid = attribute.attrelid
      and not attribute.attisdropped
      and quote_ident(attribute.attname) = substring(given.item from '\((.*)\)')
  where
    guard.kind = 'rights'
    and (
      guard.identity not like 'table %'
      or concerned.oid is not null
    )
    and (
      given.item not like '%(%'
      or attribute.attname is not null
    )
  group by
    guard.kind,
    guard.identity,
    guard.definition,
    guard.position,
    guard.waiting,
    guard.stands_in_for
),

partition as materialized (
  select relation.relation_name
  from integrity.guard_relation as relation
  where
    relation.origin = 'partition'
    and not exists (
      select
      from named
      where
        named.kind = 'partition'
        and named.identity = relation.relation_name
    )
),

-- Partitions of the event log are created and dropped: the manifest has one entry for all of them.
wanted as (
  select
    named.kind,
    named.identity,
    named.expected,
    named.definition,
    named.position,
    named.waiting,
    named.stands_in_for
  from named
  union all
  select
    ruled.kind,
    replace(ruled.identity, 'integrity.event_*', partition.relation_name) as identity,
    case
      when ruled.expected ? 'table' then ruled.expected || jsonb_build_object('table', partition.relation_name)
      else ruled.expected
    end as expected,
    replace(ruled.definition, 'integrity.event_*', partition.relation_name) as definition,
    ruled.position,
    false as waiting,
    null::text as stands_in_for
  from integrity.guard as ruled
  cross join partition
  where ruled.identity like '%integrity.event\_*'
),

found as materialized (
  select
    seen.kind,
    seen.identity,
    seen.object_id,
    seen.facts
  from integrity.guard_found as seen
  union all
  select
    manifest.kind,
    manifest.identity,
    null::oid as object_id,
    manifest.facts
  from integrity.guard_manifest as manifest
),

compared as materialized (
  select
    coalesce(wanted.kind, found.kind) as kind,
    coalesce(wanted.identity, found.identity) as identity,
    wanted.expected,
    found.facts,
    found.object_id,
    wanted.definition,
    coalesce(wanted.waiting, false) as waiting,
    -- Repair unexpected objects last, but triggers first: one can be a renamed trigger of the layer, in the way of its
    -- replacement.
    coalesce(wanted.position, case found.kind when 'trigger' then 0 else 1000000 end) as position,
    coalesce(wanted.expected ->> 'table', found.facts ->> 'table') as parent,
    -- Text, not boolean: the planner expects few rows to equal a text constant. With a boolean it would expect many
    -- differences and start the JIT compiler.
    case when wanted.expected = found.facts then 'the same' else 'different' end as verdict
  from wanted
  full join found
    on
      wanted.kind = found.kind
      and wanted.identity = found.identity
  where
    -- A stand-in trigger is dropped when its constraint is enforced.
    (
      wanted.kind is not null
      -- What integrity.detach() dropped is one row of integrity.guard_detached.
      and not (
        found.kind is null
        and exists (
          select
          from integrity.detached_object as detached
          where
            detached.kind = wanted.kind
            and detached.identity = wanted.identity
        )
      )
      and not (
        found.kind is null
        and exists (
          select
          from found as enforced
          where
            enforced.kind = 'constraint'
            and enforced.identity = wanted.stands_in_for
            and (enforced.facts ->> 'validated')::boolean
        )
      )
      -- A missing partition is created together with its triggers.
      and not exists (
        select
        from wanted as partition_wanted
        where
          partition_wanted.kind = 'partition'
          and partition_wanted.identity = wanted.expected ->> 'table'
          and not exists (
            select
            from integrity.guard_relation as relation
            where relation.relation_name = partition_wanted.identity
          )
      )
    )
    or not (
      wanted.kind is not null
      -- Rules added by a user, with their views and repairs, are not part of the layer; nor are constraints that
      -- nobody has asked for.
      or (
        found.kind = 'row'
        and (
          found.identity like 'integrity.rule where %'
          or (
            found.identity like 'integrity.law where %'
            and found.facts ->> 'chosen' = 'false'
            and found.facts ->> 'built_in' = 'false'
          )
        )
      )
      or exists (
        select
        from integrity.rule as rule
        where
          (
            found.kind = 'view'
            and found.identity = format('integrity.%I', rule.rule)
          )
          or (
            found.kind = 'function'
            and found.identity = format('integrity.%I(bigint[], text[], jsonb)', 'repair_' || rule.rule)
          )
      )
      -- What a partition inherits is compared on its parent.
      or found.facts ? 'of the parent'
      -- Where the app has no unique key of its own, the layer's key is found here.
      or found.kind = 'key'
      -- Report an unknown table once, not once per column.
      or (
        found.facts ? 'table'
        and found.kind <> 'subscription'
        and not exists (
          select
          from wanted as expected_table
          where
            expected_table.kind in ('table', 'partition')
            and expected_table.identity = found.facts ->> 'table'
        )
      )
      -- The index of a key that is being built is reported with the key.
      or (
        found.kind = 'index'
        and exists (
          select
          from wanted as expected_key
          where
            expected_key.kind = 'constraint'
            and expected_key.identity = format('%s on %s', found.facts ->> 'name', found.facts ->> 'table')
        )
      )
    )
)

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
  array[]::text[] as differing,
  null::text as detail
from compared
where compared.verdict = 'the same'
union all
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
  difference.differing,
  difference.detail
from compared
inner join lateral (
  select
    coalesce(array_agg(fact.key), array[]::text[]) as differing,
    string_agg(
      case
        when compared.facts is null then format('%s: %s', fact.key, fact.expected)
        when compared.expected is null then format('%s: %s', fact.key, fact.found)
        else
          format(
            '%s: expected %s, found %s',
            fact.key,
            coalesce(fact.expected, 'none'),
            coalesce(fact.found, 'none')
          )
      end,
      '; ' order by fact.key
    ) as detail
  from (
    select
      coalesce(expected.key, found_fact.key) as key,
      case
        when length(expected.value) > 100
          then array_to_string(difference.wanted_words[difference.place - 4:difference.place + 8], ' ')
        else expected.value
      end as expected,
      case
        when length(found_fact.value) > 100
          then array_to_string(difference.found_words[difference.place - 4:difference.place + 8], ' ')
        else found_fact.value
      end as found
    from jsonb_each_text(coalesce(compared.expected, '{}')) as expected
    full join jsonb_each_text(coalesce(compared.facts, '{}')) as found_fact
      on expected.key = found_fact.key
    inner join lateral (
      select
        regexp_split_to_array(expected.value, '\s+') as wanted_words,
        regexp_split_to_array(found_fact.value, '\s+') as found_words
    ) as words on true
    -- Show only the words around the first difference of a long text.
    inner join lateral (
      select
        words.wanted_words,
        words.found_words,
        min(word.place)::integer as place
      from unnest(words.wanted_words, words.found_words) with ordinality as word (expected, found, place)
      where word.expected is distinct from word.found
    ) as difference on true
    where expected.value is distinct from found_fact.value
  ) as fact
) as difference on true
where compared.verdict = 'different';

comment on view integrity.guard_compared is
'Each entry of the manifest, integrity.guard, beside what the catalog has, and where they differ. Part of integrity.guard_status.';

revoke all on integrity.guard_compared from public;
