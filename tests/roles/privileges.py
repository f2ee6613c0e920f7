"""Who may do what with which object of the layer: every role, object and privilege, granted (+) or denied (-).

`python -m tests.roles.privileges` writes it anew to expected_privileges.txt; read the difference before you commit it.
"""

from collections.abc import Iterator
from pathlib import Path

from checks import server
from tests.roles.cluster import APP, DBA, OWNER, ROLES, Cluster, Connection, Database

EXPECTED = Path(__file__).with_name("expected_privileges.txt")
GRANTEES = ("public", APP, *ROLES, OWNER)

# MAINTAIN, of PostgreSQL 17 and later, is looked at by a test of its own.
TABLE = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
COLUMN = ("select", "insert", "update", "references")
SEQUENCE = ("usage", "select", "update")

ATTRIBUTES = """
select
  rolname,
  array_to_string(array_remove(array[
    case when rolsuper then 'superuser' end,
    case when rolcanlogin then 'login' end,
    case when rolinherit then 'inherit' end,
    case when rolcreaterole then 'createrole' end,
    case when rolcreatedb then 'createdb' end,
    case when rolreplication then 'replication' end,
    case when rolbypassrls then 'bypassrls' end,
    (
      select 'member of ' || string_agg(distinct roleid::regrole::text, ' ' order by roleid::regrole::text)
      from pg_auth_members
      where member = pg_roles.oid and pg_has_role(member, roleid, 'usage')
    )
  ], null), ', ')
from pg_roles
where rolname = any(%s)
order by 1
"""

RELATIONS = """
select
  case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end,
  oid::regclass::text,
  relowner::regrole::text,
  oid
from pg_class
where relnamespace = 'integrity'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
order by 1, 2
"""

FUNCTIONS = """
select
  case when prosecdef then 'definer ' else '' end || case prokind when 'p' then 'procedure' else 'function' end,
  oid::regprocedure::text,
  proowner::regrole::text,
  oid
from pg_proc
where pronamespace = 'integrity'::regnamespace
order by 2
"""

DEFAULTS = """
select defaclrole::regrole::text, defaclnamespace, defaclobjtype::text, defaclacl::text
from pg_default_acl
order by 1, 2, 3
"""

COLUMNS = """
select attname
from pg_attribute
where
  attrelid = %s::regclass
  and attnum > 0
  and not attisdropped
  and has_column_privilege(%s, %s::regclass, attname, %s)
order by attnum
"""

APP_TABLES = """
select distinct relation
from (
  select table_name::text as relation from information_schema.tables where table_schema = 'public'
) as known
order by 1
"""


def matrix(connection: Connection) -> str:
    """Return the whole of it for a migrated database, read by a superuser."""
    return "\n".join(_lines(connection)) + "\n"


def _lines(connection: Connection) -> Iterator[str]:
    yield "# Written by python -m tests.roles.privileges"
    yield "\n# roles"
    for name, attributes in connection.execute(ATTRIBUTES.encode(), [list(GRANTEES)]):
        yield f"{name}: {attributes}"
    yield "\n# default privileges"
    for row in connection.execute(DEFAULTS.encode()):
        yield " ".join(map(str, row))

    yield "\n# schema"
    yield from _object(connection, "schema", "integrity", "schema", ("usage", "create"), GRANTEES)
    yield "\n# tables, views and sequences"
    seen: dict[str, list[str]] = {}
    for kind, name, owner, oid in connection.execute(RELATIONS.encode()).fetchall():
        checked = ("sequence", SEQUENCE) if kind == "sequence" else ("table", TABLE)
        lines = list(_object(connection, f"{kind}, owned by {owner},", _timeless(name), *checked, GRANTEES, oid))
        # Months come and go; each is like the others.
        assert seen.setdefault(_timeless(name), lines) == lines, name
    for lines in seen.values():
        yield from lines
    yield "\n# functions"
    for kind, name, owner, oid in connection.execute(FUNCTIONS.encode()).fetchall():
        yield from _object(connection, f"{kind}, owned by {owner},", name, "function", ("execute",), GRANTEES, oid)

    yield "\n# what the layer's roles may do with the app's tables: on the whole table, else on which columns"
    for (name,) in connection.execute(APP_TABLES.encode()).fetchall():
        yield f"public.{name}"
        for role in ROLES:
            yield f"  {role:<18} {_signs(connection, 'table', role, f'public.{name}', TABLE)}"


def _object(
    connection: Connection,
    kind: str,
    name: str,
    checked: str,
    privileges: tuple[str, ...],
    grantees: tuple[str, ...],
    oid: int | None = None,
) -> Iterator[str]:
    yield f"{kind} {name}"
    for role in grantees:
        yield f"  {role:<18} {_signs(connection, checked, role, oid or name, privileges)}"


def _signs(connection: Connection, checked: str, role: str, which: int | str, privileges: tuple[str, ...]) -> str:
    found = []
    for privilege in privileges:
        columns = []
        if _has(connection, checked, role, which, privilege):
            found.append(f"+{privilege}")
            continue
        if checked == "table" and privilege in COLUMN:
            columns = [name for (name,) in connection.execute(COLUMNS.encode(), [which, role, which, privilege])]
        found.append(f"+{privilege}({', '.join(columns)})" if columns else f"-{privilege}")
    return " ".join(found)


def _has(connection: Connection, kind: str, role: str, which: int | str, privilege: str) -> bool:
    row = connection.execute(f"select has_{kind}_privilege(%s, %s, %s)".encode(), [role, which, privilege]).fetchone()
    assert row is not None
    return bool(row[0])


def _timeless(name: str) -> str:
    head, _, tail = name.partition("event_2")
    return f"{head}event_<month>" if tail[:3].isdigit() else name


def migrated(cluster: Cluster) -> Database:
    """Migrate a live app's database as the owner of its tables, who may create roles."""
    cluster.run(f"alter role {OWNER} createrole")
    database = cluster.database()
    database.adopt()
    database.upgrade()
    database.admit_app()
    return database


def main() -> None:
    """Write the file anew."""
    with server.throwaway() as running:
        cluster = Cluster(running)
        cluster.admit()
        with migrated(cluster).session(DBA) as connection:
            EXPECTED.write_text(matrix(connection))


if __name__ == "__main__":
    main()
