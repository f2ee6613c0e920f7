"""What each role of the layer may really do with each object: one statement per role, object and privilege, tried.

The expected answers are those of expected_privileges.txt, which PostgreSQL's own functions are asked for elsewhere.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors

from tests.roles.cluster import ROLES
from tests.roles.privileges import EXPECTED

_Connection = psycopg.Connection[Any]

PUBLIC = "public"
HEADING = re.compile(r"^(?:definer )?(?:(?P<kind>\w+)(?:, owned by \w+,)? )?(?P<name>(?:integrity|public)\b.*)$")
LINE = re.compile(r"^  (\w+) +([+-].*)$")
SIGN = re.compile(r"([+-])(\w+)(?:\(([^)]*)\))?")
# Who gets this was let in: a sequence that nobody has asked yet, a procedure that commits.
LATER = (errors.ObjectNotInPrerequisiteState, errors.InvalidTransactionTermination)
# One month of the event log stands for all.
MONTH = """
select substr(min(relname), 7)
from pg_class
where relnamespace = 'integrity'::regnamespace and relname ~ '^event_\\d{4}_\\d{2}$'
"""
COLUMNS = """
select attname
from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped
order by attnum
"""
CALL = """
select format('%%s(%%s)', oid::regproc, (
  select string_agg('null::' || format_type(type, null), ', ' order by position)
  from unnest(proargtypes::oid[]) with ordinality as argument (type, position)
))
from pg_proc
where oid = %s::regprocedure
"""


@dataclass(frozen=True)
class Right:
    """One privilege of one role on one object, or on one of its columns."""

    role: str
    privilege: str
    kind: str
    name: str
    column: str = ""


def expected(connection: _Connection, only: str | None = None) -> dict[Right, bool]:
    """Return every right that can be tried on this database, and whether it is granted.

    Args:
        connection: To a migrated database.
        only: The name of the one object wanted.
    """
    found: dict[Right, bool] = {}
    kind = name = ""
    (month,) = connection.execute(MONTH).fetchone() or ("",)
    for line in EXPECTED.read_text().splitlines():
        if (heading := HEADING.match(line)) is not None:
            kind, name = heading["kind"] or "table", heading["name"].replace("<month>", month)
        elif (said := LINE.match(line)) is not None and said[1] in (PUBLIC, *ROLES) and (only in (None, name)):
            for sign, privilege, columns in SIGN.findall(said[2]):
                granted = columns.split(", ") if columns else []
                for right in _rights(connection, Right(said[1], privilege, kind, name)):
                    found[right] = sign == "+" and (not columns or right.column in granted)
    return found


def may(connection: _Connection, rights: dict[Right, bool]) -> dict[Right, bool]:
    """Try each right as its role, in a transaction that is rolled back; return whether PostgreSQL let it."""
    found = {}
    with connection.transaction(force_rollback=True):
        row = connection.execute("select 'tried_' || pg_backend_pid()").fetchone()
        assert row is not None
        # One who has nothing, not even the schema, and one who has the schema and nothing in it.
        outsider, insider = f"{row[0]}_out", f"{row[0]}_in"
        connection.execute(
            f"create role {outsider}; create role {insider}; set local statement_timeout = '60s'".encode()
        )
        connection.execute(f"grant usage on schema integrity to {insider}".encode())
        for right in rights:
            role = right.role
            if role == PUBLIC:
                role = outsider if right.kind == "schema" else insider
            found[right] = _let(connection, role, right)
    return found


def _rights(connection: _Connection, whole: Right) -> Iterator[Right]:
    """Yield what there is to try for a privilege: for some, each column."""
    if whole.privilege in ("truncate", "references", "trigger"):
        return
    if whole.kind == "sequence" and whole.privilege == "update":
        return
    if whole.kind == "view" and whole.privilege != "select":
        # Whether a view can be written at all is asked before who may.
        return
    if whole.kind not in ("table", "view"):
        yield whole
        return
    if connection.execute("select to_regclass(%s) is null", [whole.name]).fetchone() == (True,):
        # The app has tables that the migrations do not create.
        return
    if whole.privilege not in ("select", "update"):
        yield whole
        return
    for (column,) in connection.execute(COLUMNS, [whole.name]).fetchall():
        yield Right(whole.role, whole.privilege, whole.kind, whole.name, column)


def _attempt(connection: _Connection, right: Right) -> str:
    """Return a statement that needs the right and nothing else; what EXPLAIN is told is checked and not done."""
    if right.kind in ("function", "procedure"):
        row = connection.execute(CALL, [right.name]).fetchone()
        assert row is not None
        return f"explain select {row[0]}" if right.kind == "function" else f"call {row[0]}"
    return {
        ("schema", "usage"): "select 'integrity.rule'::regclass",
        ("schema", "create"): "create table integrity.tried ()",
        ("sequence", "usage"): f"select currval('{right.name}')",
        ("sequence", "select"): f"explain select from {right.name}",
        ("table", "select"): f'explain select "{right.column}" from {right.name}',
        ("view", "select"): f'explain select "{right.column}" from {right.name}',
        ("table", "insert"): f"explain insert into {right.name} default values",
        ("table", "update"): f'explain update {right.name} set "{right.column}" = default',
        ("table", "delete"): f"explain delete from {right.name}",
    }[right.kind, right.privilege]


def _let(connection: _Connection, role: str, right: Right) -> bool:
    statement = _attempt(connection, right)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"set local role {role}".encode())
            connection.execute(statement.encode())
    except errors.InsufficientPrivilege as error:
        # A procedure that was let in may itself be refused something.
        return right.kind == "procedure" and "for procedure" not in str(error.diag.message_primary)
    except LATER:
        return True
    return True
