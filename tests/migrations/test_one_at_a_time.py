"""Two upgrades at once: one works, the other waits and then finds nothing left to do."""

import subprocess
import time
from typing import Any

import psycopg
import pytest

from checks import migrate
from checks.errors import UserError
from tests.support.catalog import changed, snapshot
from tests.support.database import target_of
from tests.support.gate import gate
from tests.support.programs import alembic

_Connection = psycopg.Connection[Any]

# Every try is rolled back, and that is what the session has said last until the next one.
TRIES = """
    select pid, query_start from pg_stat_activity
    where
      datname = current_database()
      and application_name = 'quest-integrity'
      and pid <> %s
      and state = 'idle'
      and query = 'ROLLBACK'
"""
HELD = """
    select from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""


def _wait_for_tries(observer: _Connection, holder: int, at_least: int, seconds: float = 60) -> None:
    """Wait until a session beside the lock's holder has been seen trying for it so many times."""
    seen: set[Any] = set()
    deadline = time.monotonic() + seconds
    while len(seen) < at_least:
        assert time.monotonic() < deadline, "nobody keeps trying for the lock"
        seen.update(observer.execute(TRIES, [holder]).fetchall())
        time.sleep(0.01)
    assert len({pid for pid, _ in seen}) == 1


def _finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def test_a_second_upgrade_waits_for_the_first(empty: _Connection, migrated: _Connection) -> None:
    empty.autocommit = True
    with gate(empty) as ddl:
        ddl.close_at(40)
        first = alembic(empty, "upgrade", "head")
        holder = ddl.wait()
        second = alembic(empty, "upgrade", "head")
        _wait_for_tries(empty, holder, at_least=5)
        passed = ddl.passed()
        assert second.poll() is None
        ddl.open()
        _finish(first)
        done = ddl.passed()
        _finish(second)
        # The second one has nothing left to do.
        assert ddl.passed() == done > passed
    assert changed(snapshot(migrated), snapshot(empty)) == {}


def test_many_started_together_all_succeed(empty: _Connection, migrated: _Connection) -> None:
    for each in [alembic(empty, "upgrade", "head") for _ in range(3)]:
        _finish(each)
    assert changed(snapshot(migrated), snapshot(empty)) == {}


def test_the_lock_is_let_go(empty: _Connection) -> None:
    """After success, after nothing to do, and after a refusal."""
    migrate.upgrade(target_of(empty))
    migrate.upgrade(target_of(empty))
    with pytest.raises(UserError):
        migrate.upgrade(target_of(empty), x=["app-schema=no_such_schema"])
    migrate.downgrade(target_of(empty), "base")
    assert empty.execute(HELD).fetchall() == []
