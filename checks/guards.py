"""Whether every part of the layer is still there, as it was, and switched on: integrity.guard_status.

Its SQL is run from the package's own files, so that it can be trusted when the views in the database were replaced.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from psycopg import errors, sql

from checks import citus, ddl, law, migrate, query, render, resources, server, violations
from checks.errors import UserError
from checks.target import Target

COLUMNS = "select kind, identity, status, damage, waiting, detail, mend"
# What guard_status reads, each only those before it.
_PARTS = ("relation", "table", "column", "function", "view", "trigger", "constraint", "other", "found", "manifest")
VIEWS = (
    *("adoption/needed_column", "adoption/column_mismatch"),
    *(f"guards/guard_{part}" for part in (*_PARTS, "compared", "fit", "detached")),
)
NODES = "integrity.node_damage() as difference"
ADDED = "select relation, status, position from integrity.status where not built_in"
ENFORCED = "select distinct unnest(rules) from integrity.law where built_in and chosen order by 1"
IS_MEMBER = "select pg_has_role(oid, 'member') from pg_roles where rolname = %s"
STATUS_CHECKS = r"%\_status\_known"
# Settings that change how PostgreSQL prints a definition.
PLAIN = (
    "set local search_path = pg_catalog, pg_temp; set local quote_all_identifiers = off; "
    "set local intervalstyle = postgres"
)
# `validate` builds a constraint better than a repair: it knows which must not be built while rows violate it.
BUILDING = {"missing", "not validated"}


@dataclass(frozen=True)
class Guard:
    """A row of integrity.guard_status; one that is `waiting` for rows to be repaired is no damage."""

    kind: str
    identity: str
    status: str
    damage: bool
    waiting: bool
    detail: str
    mend: str | None


def read(connection: psycopg.Connection[Any]) -> list[Guard]:
    """Return every guard, in the order in which to repair them; the connection is in autocommit mode."""
    try:
        found = _query(connection, _own_copy())
    except errors.InsufficientPrivilege:
        found = _query(connection, f"{COLUMNS} from integrity.guard_status order by position")
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        gone = Guard("table", "integrity.guard", "missing", True, False, str(error.diag.message_primary), None)
        with suppress(errors.UndefinedTable):
            gaps = _query(connection, f"{COLUMNS} from ({_body('guards/guard_gap')}) as gap order by position")
            return gaps or [gone]
        return [gone]
    found += _on_nodes(connection)
    if any(guard.waiting and guard.status == "ok" for guard in found):
        # From now on it is damage when one of these is not enforced. Who may only read leaves the note to others.
        with suppress(errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction, errors.UndefinedFunction):
            connection.execute("select integrity.settle_guards()")
    return found


def damaged(connection: psycopg.Connection[Any]) -> list[Guard]:
    """Return the guards that are damaged: while there are any, the layer does not keep what it promises."""
    return [guard for guard in read(connection) if guard.damage]


def mend(connection: psycopg.Connection[Any], policy: ddl.LockPolicy = ddl.USUAL) -> list[Guard]:
    """Run the repair statements, each once and under the lock policy, then validate; return all guards after that.

    Raises:
        UserError: the manifest was altered, and with it perhaps what it says to run.
    """
    damage = damaged(connection)
    if any(guard.kind == "manifest" for guard in damage):
        raise UserError(
            "the manifest integrity.guard is not as the migrations wrote it, so its statements were not run: write it "
            "anew with `quest-integrity downgrade 0011_roles` and `quest-integrity upgrade`, then compare it with "
            "`quest-integrity guards --against-package`"
        )
    # An object keeps the operators and functions that its definition found: only PostgreSQL's own will do.
    connection.execute("set search_path = pg_catalog, pg_temp")
    tried: set[Guard] = set()
    while found := [guard for guard in damage if guard.mend and guard not in tried]:
        tried.update(found)
        # Several guards can have one statement.
        for mend, guard in {str(guard.mend): guard for guard in found if not _is_building(guard)}.items():
            try:
                ddl.run(connection, mend, policy)
                render.say(f"ran: {mend}")
            except psycopg.Error as error:
                render.say(f"{guard.kind} {guard.identity} cannot be repaired: {error.diag.message_primary}")
        damage = damaged(connection)
    law.advance(connection, policy)
    return read(connection)


def enforce(
    connection: psycopg.Connection[Any],
    names: Sequence[str] | None = None,
    policy: ddl.LockPolicy = ddl.USUAL,
    **showing: Any,
) -> list[law.Unenforced]:
    """Enforce constraints as far as the rows allow, and note which: from then on it is damage when one is not.

    Args:
        connection: in autocommit mode, of the tables' owner.
        names: only these constraints; all of them when None.
        policy: how to wait for locks.
        showing: as of `law.advance`.

    Returns:
        What is still not enforced.
    """
    remaining = law.advance(connection, policy, names, **showing)
    read(connection)
    return remaining


def differences(connection: psycopg.Connection[Any]) -> list[Guard]:
    """Compare the manifest itself with what this package writes into an empty database, on a throw-away server."""
    schema = violations.app_schema(connection)
    enforced = connection.execute(ENFORCED).fetchall()
    with server.throwaway() as running:
        target = Target(running.url, "throw-away server")
        with target.connect(autocommit=True) as reference:
            reference.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
            migrate.upgrade(target, x=[f"app-schema={schema}"])
            _add_statuses(reference, connection.execute(ADDED).fetchall())
            for rule in enforced:
                reference.execute("select integrity.enforce(%s)", rule)
            expected = dict(reference.execute(_body("guards/guard_portable")).fetchall())
    found = dict(connection.execute(_body("guards/guard_portable")).fetchall())
    return [
        Guard("manifest", name, "altered", True, False, "not what this version of the package writes", None)
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


def probe(connection: psycopg.Connection[Any], role: str | None) -> str | None:
    """Approve a made-up application in a transaction that is rolled back.

    Args:
        connection: in autocommit mode.
        role: who approves; None for the connected role.

    Returns:
        What the database said when the approval failed, None when it worked.

    Raises:
        UserError: there is no such role, or the connected role may not become it.
    """
    if role is not None:
        is_member = query.value(connection, IS_MEMBER, [role])
        if is_member is None:
            raise UserError(f"--role {role}: there is no such role; `\\du` in psql lists them")
        if not is_member:
            raise UserError(f"--role {role}: the connected role may not become it; connect as a member or as itself")
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("select integrity.probe_approval(%s)", [role])
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise
        named = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
        where = ", ".join(name for name in named if name)
        return f"SQLSTATE {error.sqlstate}{f' ({where})' if where else ''}: {error.diag.message_primary}"
    return None


def _is_building(guard: Guard) -> bool:
    """Whether the guard is of a constraint or index of the app's tables that `validate` builds."""
    is_law = guard.kind in {"constraint", "index"} and not re.search(r"(^| on )integrity\.", guard.identity)
    return is_law and guard.status in BUILDING


def _add_statuses(reference: psycopg.Connection[Any], added: list[tuple[Any, ...]]) -> None:
    """Give the reference the statuses that were added: they are the user's, and what follows from them is not."""
    with reference.transaction(), reference.cursor() as cursor:
        cursor.executemany("insert into integrity.status values (%s, %s, %s, false)", added)
        cursor.execute(
            "update integrity.law set definition = integrity.status_check(relation) where name like %s", [STATUS_CHECKS]
        )
        cursor.execute("select integrity.record_guards()")


def _on_nodes(connection: psycopg.Connection[Any]) -> list[Guard]:
    """Return what Citus has otherwise than the layer needs, if it is there."""
    if not citus.is_present(connection):
        return []
    # Who may not ask leaves it to others; a function that is missing is damage of its own.
    with suppress(errors.InsufficientPrivilege, errors.UndefinedFunction):
        return _query(connection, f"{COLUMNS} from (select *, true as damage, false as waiting from {NODES}) as node")
    return []


def _query(connection: psycopg.Connection[Any], text: str) -> list[Guard]:
    with connection.transaction(force_rollback=True):
        connection.execute(PLAIN)
        return query.rows(connection, Guard, text)


def _body(name: str) -> str:
    """Return the query of the view that a file of `sql/` creates, as this package has it."""
    file = resources.newest_sql(name)
    if file is None:
        raise FileNotFoundError(f"sql/{name} is missing from the package")
    return file.read_text(encoding="utf-8").partition(" as\n")[2].partition(";\n\ncomment on view ")[0]


@cache
def _own_copy() -> str:
    names = {view.rpartition("/")[2]: view for view in VIEWS}
    views = ", ".join(f"{name} as ({_body(view)})" for name, view in names.items())
    whole = f"with {views} {COLUMNS} from ({_body('guards/guard_status')}) as status order by position"
    return re.sub(rf"\bintegrity\.(?=({'|'.join(names)})\b)", "", whole)
