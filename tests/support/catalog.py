"""Everything that DDL can leave in a database, as text: two databases are alike when their snapshots are equal.

Nothing in it depends on object ids, on the order of changes, or on columns that were dropped meanwhile.
"""

from typing import Any

import psycopg

from tests.support.database import another

Snapshot = dict[tuple[str, str], Any]

# Every option that PostgreSQL 14 to 18 document for a table, a view or a column. A release may keep others there for
# itself: 15.20 counts in each column's pg_attver how often its table was altered.
DOCUMENTED_OPTION = (
    "^(fillfactor|toast_tuple_target|parallel_workers|user_catalog_table|(toast[.])?(log_)?(auto)?vacuum_.+"
    "|security_barrier|security_invoker|check_option|n_distinct|n_distinct_inherited)$"
)


def _options(column: str) -> str:
    """Return an SQL expression for what somebody set in an array of options."""
    return f"""(
              select jsonb_object_agg(option_name, option_value)
              from pg_options_to_table({column})
              where option_name ~ '{DOCUMENTED_OPTION}'
            )"""


# What initdb made has ids below 16384; only schema public is ours to look at.
# Each yields the kind of an object, its name, and whatever defines it.
QUERIES = {
    "schema": """
        select nspname, jsonb_build_array(pg_get_userbyid(nspowner))
        from pg_namespace
        where (oid >= 16384 or nspname = 'public') and nspname !~ '^pg_'
    """,
    "relation": f"""
        select
          oid::regclass,
          jsonb_build_array(
            relkind, relpersistence, pg_get_userbyid(relowner), {_options("reloptions")}, relreplident, relrowsecurity,
            relforcerowsecurity, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid)
          )
        from pg_class
        where
          oid >= 16384
          and relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
          and relnamespace <> 'pg_toast'::regnamespace
    """,
    "column": f"""
        select
          attrelid::regclass || '.' || quote_ident(attname),
          jsonb_build_array(
            -- Not attnum: a column added again comes after the place of the dropped one.
            rank() over (partition by attrelid order by attnum), format_type(atttypid, atttypmod),
            attnotnull, pg_get_expr(adbin, adrelid), attidentity, attgenerated, attstorage, attcompression,
            attcollation::regcollation, {_options("attoptions")}
          )
        from pg_attribute
        join pg_class on pg_class.oid = attrelid and relkind in ('r', 'p', 'v', 'm', 'f', 'c')
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where attrelid >= 16384 and attnum > 0 and not attisdropped
    """,
    "constraint": """
        select
          coalesce(nullif(conrelid, 0)::regclass::text, contypid::regtype::text) || '.' || quote_ident(conname),
          jsonb_build_array(pg_get_constraintdef(oid), convalidated, condeferrable, condeferred, conislocal)
        from pg_constraint
        where oid >= 16384
    """,
    "index": """
        select
          indexrelid::regclass,
          jsonb_build_array(
            pg_get_indexdef(indexrelid), indisvalid, indisready, indislive, indisunique, indisprimary,
            indimmediate, indisreplident, indisclustered
          )
        from pg_index
        join pg_class on pg_class.oid = indexrelid and relnamespace <> 'pg_toast'::regnamespace
        where indexrelid >= 16384
    """,
    "trigger": """
        select
          tgrelid::regclass || '.' || quote_ident(tgname),
          jsonb_build_array(pg_get_triggerdef(oid), tgenabled)
        from pg_trigger
        where oid >= 16384 and not tgisinternal
    """,
    "foreign key trigger": """
        select
          concat_ws(' ', tgrelid::regclass, pg_constraint.conrelid::regclass, quote_ident(conname), tgtype),
          jsonb_build_array(tgenabled, tgdeferrable, tginitdeferred)
        from pg_trigger
        join pg_constraint on pg_constraint.oid = tgconstraint and contype = 'f'
        where pg_trigger.oid >= 16384 and tgisinternal
    """,
    "function": """
        select
          oid::regprocedure,
          jsonb_build_array(pg_get_functiondef(oid), pg_get_userbyid(proowner))
        from pg_proc
        where oid >= 16384 and prokind in ('f', 'p')
    """,
    "view": """
        select oid::regclass, to_jsonb(pg_get_viewdef(oid))
        from pg_class
        where oid >= 16384 and relkind in ('v', 'm')
    """,
    "rule": """
        select ev_class::regclass || '.' || quote_ident(rulename), to_jsonb(pg_get_ruledef(oid))
        from pg_rewrite
        where oid >= 16384 and rulename <> '_RETURN'
    """,
    "type": """
        select
          oid::regtype,
          jsonb_build_array(typtype, typnotnull, typdefault, typbasetype::regtype)
        from pg_type
        where oid >= 16384 and typtype in ('d', 'e', 'r', 'm')
    """,
    "sequence": """
        select
          seqrelid::regclass,
          jsonb_build_array(seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle)
        from pg_sequence
    """,
    "statistics": "select quote_ident(stxname), to_jsonb(pg_get_statisticsobjdef(oid)) from pg_statistic_ext",
    "policy": """
        select polrelid::regclass || '.' || polname, to_jsonb(pg_get_expr(polqual, polrelid))
        from pg_policy
    """,
    "event trigger": """
        select evtname, jsonb_build_array(evtevent, evtfoid::regproc, evtenabled)
        from pg_event_trigger
    """,
    "extension": "select extname, to_jsonb(extversion) from pg_extension where oid >= 16384",
    # Who may do what, not how that is written: the first GRANT writes down what the owner has anyway, and no REVOKE
    # makes PostgreSQL forget it again. pg_dump sees no difference either.
    "grant": """
        select
          object || ' to ' || case grantee when 0 then 'public' else pg_get_userbyid(grantee) end,
          jsonb_agg(jsonb_build_array(privilege_type, is_grantable, pg_get_userbyid(grantor)) order by privilege_type)
        from (
          select 'schema ' || nspname, coalesce(nspacl, acldefault('n', nspowner))
          from pg_namespace
          where (oid >= 16384 or nspname = 'public') and nspname !~ '^pg_'
          union all
          select
            'relation ' || oid::regclass,
            coalesce(relacl, acldefault((case relkind when 'S' then 's' else 'r' end)::"char", relowner))
          from pg_class
          where oid >= 16384 and relkind in ('r', 'p', 'v', 'm', 'S', 'f') and relnamespace <> 'pg_toast'::regnamespace
          union all
          select 'column ' || attrelid::regclass || '.' || quote_ident(attname), attacl
          from pg_attribute
          where attrelid >= 16384 and not attisdropped
          union all
          select 'routine ' || oid::regprocedure, coalesce(proacl, acldefault('f', proowner))
          from pg_proc
          where oid >= 16384
          union all
          select 'type ' || oid::regtype, coalesce(typacl, acldefault('T', typowner))
          from pg_type
          where oid >= 16384 and typtype in ('d', 'e', 'r', 'm')
        ) as granted (object, acl), aclexplode(acl)
        group by 1
    """,
    "default privileges": """
        select concat_ws(' ', pg_get_userbyid(defaclrole), defaclnamespace, defaclobjtype), to_jsonb(defaclacl::text[])
        from pg_default_acl
    """,
    "comment": """
        select pg_describe_object(classoid, objoid, objsubid), to_jsonb(description)
        from pg_description
        where objoid >= 16384
    """,
}

# The rows that say what the layer is made of; when and how far are left out.
CONTENTS = {
    "rules": ("integrity.rule", "select rule, severity, category, meaning from integrity.rule order by position"),
    "law": (
        "integrity.law",
        "select name, relation, kind, columns, definition, requires, waits, rules from integrity.law order by position",
    ),
    "statuses": (
        "integrity.status",
        "select relation, status, position, built_in from integrity.status order by relation, position",
    ),
    "installation": ("integrity.installation", "select app_schema, created_tables from integrity.installation"),
}


def snapshot(connection: psycopg.Connection[Any]) -> Snapshot:
    """Read the catalog as others see it now: what the connection has not committed is not in it."""
    found: Snapshot = {}
    with another(connection, autocommit=True) as session:
        # With nothing else on it, every name is written with its schema.
        session.execute("set search_path = pg_catalog")
        for kind, query in QUERIES.items():
            rows = session.execute(f"select name::text, definition from ({query}) as _ (name, definition)")
            for name, definition in rows:
                found[kind, name] = definition
        for what, (table, query) in CONTENTS.items():
            row = session.execute("select to_regclass(%s) is not null", [table]).fetchone()
            if row == (True,):
                found["rows", what] = session.execute(query).fetchall()
    return found


def objects(found: Snapshot) -> set[tuple[str, str]]:
    """Return what there is, without who may use it."""
    return {(kind, name) for kind, name in found if kind != "grant"}


def changed(before: Snapshot, after: Snapshot) -> Snapshot:
    """Return what is new, gone or different, each with both definitions: what a failing test should print."""
    return {
        each: (before.get(each), after.get(each))
        for each in sorted(before.keys() | after.keys())
        if before.get(each) != after.get(each)
    }


# Every list of rights as it is written down, and what it means when there is none.
WRITTEN = """
select 'schema ' || nspname, nspacl::text[], acldefault('n', nspowner)::text[]
from pg_namespace
where nspname !~ '^pg_'
union all
select
  'relation ' || oid::regclass,
  relacl::text[],
  acldefault((case relkind when 'S' then 's' else 'r' end)::"char", relowner)::text[]
from pg_class
where oid >= 16384 and relnamespace <> 'pg_toast'::regnamespace
union all
select 'column ' || attrelid::regclass || '.' || quote_ident(attname), attacl::text[], '{}'
from pg_attribute
where attrelid >= 16384 and not attisdropped
union all
select 'routine ' || oid::regprocedure, proacl::text[], acldefault('f', proowner)::text[]
from pg_proc
where oid >= 16384
union all
select 'type ' || oid::regtype, typacl::text[], acldefault('T', typowner)::text[]
from pg_type
where oid >= 16384 and typtype in ('d', 'e', 'r', 'm')
"""

Written = dict[str, tuple[list[str] | None, list[str]]]


def written_grants(connection: psycopg.Connection[Any]) -> Written:
    """Return every list of rights as PostgreSQL has it written down, with what it would be if there were none."""
    with another(connection, autocommit=True) as session:
        session.execute("set search_path = pg_catalog")
        return {name: (written, default) for name, written, default in session.execute(WRITTEN).fetchall()}


def rewritten(before: Written, after: Written) -> dict[str, tuple[list[str] | None, list[str] | None]]:
    """Return the lists that are not as before; what the owner has anyway may have been written down."""
    found = {}
    for name in before.keys() | after.keys():
        (was, default), (is_now, _) = before.get(name, (None, [])), after.get(name, (None, []))
        if is_now != was and not (was is None and is_now == default):
            found[name] = (was, is_now)
    return found
