"""Running a case and looking at how it ends."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import IsolationLevel, sql

from tests.law.cases import TABLES, Case

_Connection = psycopg.Connection[Any]

LEVELS = (IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)


@dataclass(frozen=True)
class Refusal:
    """How the database refused a state.

    Args:
        sqlstate: What the client got.
        constraint: The name it got with it.
        at_commit: The writes went through and COMMIT did not.
    """

    sqlstate: str | None
    constraint: str | None
    at_commit: bool


SQLSTATES = {"f": "23503", "u": "23505", "c": "23514"}


def expected_refusal(connection: _Connection, constraint: str) -> Refusal:
    """Say from the catalog how a constraint refuses: its kind and whether it waits for COMMIT."""
    found = connection.execute(
        "select contype::text, condeferred from pg_constraint where conname = %s", [constraint]
    ).fetchone()
    assert found is not None, f"there is no constraint {constraint}"
    kind, deferred = found
    connection.rollback()
    return Refusal(SQLSTATES[kind], constraint, deferred)


def run(connection: _Connection, case: Case) -> Refusal | None:
    """Commit the lawful part of a case, then write and commit the unlawful one.

    Returns:
        How it was refused; None when it was committed.
    """
    steps = case.steps(connection)
    next(steps)
    connection.commit()
    written = False
    try:
        next(steps, None)
        written = True
        connection.commit()
    except psycopg.IntegrityError as error:
        connection.rollback()
        return Refusal(error.sqlstate, error.diag.constraint_name, written)
    return None


def run_at_each_level(connection: _Connection, case: Case) -> dict[IsolationLevel, Refusal | None]:
    """Run a case at each isolation level, one after the other in the same database, and return how each ended."""
    outcomes = {}
    for level in LEVELS:
        connection.isolation_level = level
        outcomes[level] = run(connection, case)
    return outcomes


def at_each_level(outcome: Refusal | None) -> dict[IsolationLevel, Refusal | None]:
    """Return what `run_at_each_level` returns when a case ends the same way at each of them."""
    return dict.fromkeys(LEVELS, outcome)


def disable_triggers(connection: _Connection) -> None:
    """Switch off everything but the constraints, for every session."""
    for table in TABLES:
        connection.execute(sql.SQL("alter table {} disable trigger user").format(sql.Identifier(table)))
    connection.commit()


def drop_constraint(connection: _Connection, name: str) -> None:
    """Drop a constraint of the law with what depends on it."""
    found = connection.execute(
        "select conrelid::regclass::text from pg_constraint where conname = %s", [name]
    ).fetchone()
    assert found is not None, f"there is no constraint {name}"
    connection.execute(
        sql.SQL("alter table {} drop constraint {} cascade").format(sql.Identifier(found[0]), sql.Identifier(name))
    )
    connection.commit()


def rules_broken(connection: _Connection, severity: str = "error") -> set[str]:
    """Read which rules have violations."""
    found = connection.execute(
        "select rule from integrity.violation_summary where severity = %s and violations > 0", [severity]
    )
    return {rule for (rule,) in found}
