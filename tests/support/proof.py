"""Reading and repairing violations as the runner does, for the tests that judge the rules themselves."""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from checks import ddl, migrate
from checks.law import Unenforced, advance
from tests.support.database import another, target_of
from tests.support.plant import PLACES, Planted

_Connection = psycopg.Connection[Any]

REPAIR_BATCH = 100
# What approvals from before the layer need, whose participants may have left.
CREATE = {"missing_participant": "create"}


def rows(connection: _Connection, rule: str) -> list[dict[str, Any]]:
    """Read a rule's own view."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(sql.SQL("select * from integrity.{} order by key").format(sql.Identifier(rule)))
        return cursor.fetchall()


def places(connection: _Connection) -> set[tuple[Any, ...]]:
    """Read where every violation of every rule is."""
    found = connection.execute(PLACES).fetchall()
    assert len(set(found)) == len(found), "one violation is reported twice"
    return set(found)


def rules_broken(connection: _Connection) -> dict[str, int]:
    """Read the summary's non-zero counts."""
    summary = connection.execute("select rule, violations from integrity.violation_summary where violations > 0")
    return dict(summary.fetchall())


def attach(connection: _Connection) -> None:
    """Commit, then take the database from wherever it is to the newest revision."""
    connection.commit()
    migrate.upgrade(target_of(connection))


def enforce(connection: _Connection) -> list[Unenforced]:
    """Commit, then build and validate what the rows allow, as `quest-integrity validate` does."""
    connection.commit()
    with another(connection, autocommit=True) as session:
        return advance(session, ddl.LockPolicy(timeout=1, retries=3))


def repair(connection: _Connection, **options: str) -> dict[tuple[str, str], str]:
    """Repair what has a repair, as one run of the runner does; returns the outcome of each (rule, key)."""
    chosen = CREATE | options
    run = connection.execute("select integrity.start_repair('test', %s)", [Jsonb(chosen)]).fetchone()
    assert run is not None
    connection.execute("select integrity.plan_repair(%s, null, null, null, null)", [run[0]])
    connection.commit()
    handled = None
    while handled != (0,):
        handled = connection.execute("select integrity.repair_batch(%s, %s)", [run[0], REPAIR_BATCH]).fetchone()
        connection.commit()
    items = connection.execute("select rule, key, outcome from integrity.repair_item where run = %s", [run[0]])
    return {(rule, key): outcome for rule, key, outcome in items}


def assert_planted(connection: _Connection, *planted: Planted) -> None:
    """Make sure that exactly these violations are there, each in its place, and what comes along with them."""
    found = places(connection)
    for each in planted:
        assert each.place in found
    companions = sorted(rule for each in planted for rule in each.accompanied_by)
    assert sorted(place[0] for place in found - {each.place for each in planted}) == companions


def rows_of_app(connection: _Connection) -> dict[str, list[Any]]:
    """Read every row of the three tables, whole."""
    tables = ("quests_quest", "applications_application", "quests_questparticipant")
    return {
        table: connection.execute(f"select to_jsonb(t) from {table} as t order by id".encode()).fetchall()
        for table in tables
    }
