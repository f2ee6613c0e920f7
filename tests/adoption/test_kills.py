"""An upgrade that is killed at any point: the app goes on, and running it again completes it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from checks import migrate, server
from tests.django_app import database
from tests.django_app.flows import FLOWS, World
from tests.support import plant
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.database import another, target_of, url_of
from tests.support.gate import gate
from tests.support.programs import alembic
from tests.support.revisions import app_rows, wrong_markers
from tests.support.templates import APP_TABLES
from tests.support.waiting import wait_until_blocked, wait_until_gone

_Connection = psycopg.Connection[Any]

SMALL_BATCHES = ("-x", "backfill-batch=5")
# Between two DDL commands of the upgrade there is always one of these before the kill.
POINTS = {
    "0001_first_table": "create table integrity.installation",
    "0002_last_rule": "view integrity.unknown_status",
    "0003_partitions": "create table integrity.event_default",
    "0004_second_column": "add column if not exists integrity_active",
    "0004_last_trigger": "trigger integrity_mark.*on public.quests_quest",
    "0005_procedure": "procedure integrity.backfill_markers",
    "0006_second_key": "create unique index concurrently integrity_active_participant_key",
    "0006_attaching_a_key": "add constraint integrity_quest_key unique using index",
    "0007_half_of_the_law": "add constraint integrity_assignee_is_participant",
    "0007_last_trigger": "create .*trigger .* on public.quests_quest",
    "0009_first_validation": "validate constraint",
    "0010_last_table": "create table integrity.repair_change",
    "0013_owner_set": "select integrity.record_guards",
}
CORE_FLOWS = (
    "approve_with_other_pendings",
    "kick",
    "leave",
    "join",
    "complete",
    "stale_quest_saved_after_approval",
    "stale_participant_saved_after_kick",
    "quest_deleted",
)


@dataclass(frozen=True)
class Stopped:
    """An upgrade that does not go on: its process and its backend."""

    process: subprocess.Popen[str]
    backend: int


def _kill_runner(stopped: Stopped, connection: _Connection) -> None:
    """What `kill -9`, an out-of-memory killer or a closed laptop does: the backend is left alone."""
    stopped.process.send_signal(signal.SIGKILL)
    stopped.process.communicate(timeout=60)


def _kill_backend(stopped: Stopped, connection: _Connection) -> None:
    """What an administrator or a restarted server does: the runner says so and ends."""
    connection.execute("select pg_terminate_backend(%s)", [stopped.backend])
    _, said = stopped.process.communicate(timeout=60)
    assert stopped.process.returncode == 2, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: ")


Kill = Callable[[Stopped, _Connection], None]
KILLS: dict[str, Kill] = {"runner": _kill_runner, "backend": _kill_backend}


def _both(points: Any) -> list[Any]:
    """Every point with either victim; only one of the two in a quick run, in turn."""
    return [
        pytest.param(point, kill, id=f"{point}-{name}", marks=[pytest.mark.slow] if (number + turn) % 2 else [])
        for number, point in enumerate(points)
        for turn, (name, kill) in enumerate(KILLS.items())
    ]


def _survives(connection: _Connection, rows: dict[str, list[str]], expected: Snapshot) -> None:
    """Make sure that the kill cost no row, that the app works, and that the upgrade can be completed."""
    assert app_rows(connection) == rows
    with database.use(url_of(connection)):
        for flow in FLOWS:
            if flow.name in CORE_FLOWS:
                flow.run(World())
    before = app_rows(connection)

    migrate.upgrade(target_of(connection))

    assert changed(expected, snapshot(connection)) == {}
    assert wrong_markers(connection) == {}
    assert app_rows(connection) == before


@pytest.mark.parametrize(("point", "kill"), _both(POINTS))
def test_killed_at_a_command(point: str, kill: Kill, attachable: _Connection, undisturbed: Snapshot) -> None:
    rows = app_rows(attachable)
    with gate(attachable) as ddl:
        ddl.close_at(POINTS[point])
        process = alembic(attachable, *SMALL_BATCHES, "upgrade", "head")
        stopped = Stopped(process, ddl.wait())
        kill(stopped, attachable)
        # A backend whose client is gone finishes its command before it notices.
        ddl.open()
        wait_until_gone(attachable, stopped.backend)
    _survives(attachable, rows, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 6))
def test_killed_again_and_again(first: int, attachable: _Connection, undisturbed: Snapshot) -> None:
    """One kill after another at ever later commands, until it gets through."""
    rows = app_rows(attachable)
    kills = 0
    with gate(attachable) as ddl:
        ddl.close_at(first)
        while True:
            process = alembic(attachable, *SMALL_BATCHES, "upgrade", "head")
            try:
                stopped = Stopped(process, _wait_or_end(ddl, process))
            except _EndedError:
                break
            kills += 1
            list(KILLS.values())[kills % 2](stopped, attachable)
            ddl.open()
            wait_until_gone(attachable, stopped.backend)
            # A transaction that was rolled back begins anew, so the next kill has to come later.
            ddl.close_at(first + 10 * kills)
    assert kills >= 5
    _survives(attachable, rows, undisturbed)


class _EndedError(Exception):
    """The upgrade got through."""


def _wait_or_end(ddl: Any, process: subprocess.Popen[str]) -> int:
    while process.poll() is None:
        with contextlib.suppress(AssertionError):
            return int(ddl.wait(seconds=0.1))
    _, said = process.communicate()
    assert process.returncode == 0, said
    raise _EndedError


def _backend_of(connection: _Connection, query: str, seconds: float = 120) -> int:
    """Wait until the upgrade's backend runs something like this, and return its pid."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        row = connection.execute(
            "select pid from pg_stat_activity where datname = current_database()"
            " and application_name = 'quest-integrity' and state = 'active' and query ilike %s",
            [query],
        ).fetchone()
        if row is not None:
            return int(row[0])
        time.sleep(0.005)
    raise AssertionError(f"the upgrade never runs {query}")


BACKFILL = "%call integrity.backfill_markers%"


@contextlib.contextmanager
def _pausing_after_a_batch(connection: _Connection) -> Iterator[Stopped]:
    """Stop between two batches: what is done is committed."""
    process = alembic(connection, *SMALL_BATCHES, "-x", "backfill-pause=10min", "upgrade", "head")
    backend = _backend_of(connection, BACKFILL)
    while not connection.execute("select from integrity.backfill where rows_marked > 0").fetchall():
        time.sleep(0.005)
    yield Stopped(process, backend)


@contextlib.contextmanager
def _inside_a_batch(connection: _Connection) -> Iterator[Stopped]:
    """Stop in a batch of the second table, its rows written and not committed."""
    with another(connection) as keeper, gate(connection) as ddl:
        ddl.close_at("procedure integrity.backfill_markers")
        process = alembic(connection, *SMALL_BATCHES, "-x", "lock-timeout=5min", "upgrade", "head")
        ddl.wait()
        # The table is not committed yet; what its rows will be locked by can only be itself.
        keeper.execute("select id from quests_quest order by id for update")
        ddl.open()
        backend = _backend_of(connection, BACKFILL)
        wait_until_blocked(connection, backend)
        yield Stopped(process, backend)


@contextlib.contextmanager
def _inside_a_build(connection: _Connection) -> Iterator[Stopped]:
    """Stop in CREATE INDEX CONCURRENTLY, where it waits for a client: the index is there and not valid."""
    with another(connection) as client:
        migrate.upgrade(target_of(connection), "0005_backfill")
        client.execute("update quests_questparticipant set progress_notes = progress_notes where false")
        process = alembic(connection, "upgrade", "head")
        backend = _backend_of(connection, "create unique index concurrently integrity_active_participant_key%")
        wait_until_blocked(connection, backend)
        assert connection.execute("select from pg_index where not indisvalid").fetchall()
        yield Stopped(process, backend)


STOPS = (_pausing_after_a_batch, _inside_a_batch, _inside_a_build)


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__.lstrip("_"))
def test_killed_in_the_middle_of_a_step(
    stop: Callable[[_Connection], contextlib.AbstractContextManager[Stopped]],
    kill: Kill,
    attachable: _Connection,
    undisturbed: Snapshot,
) -> None:
    rows = app_rows(attachable)
    with stop(attachable) as stopped:
        kill(stopped, attachable)
        # Where the runner was killed its backend sleeps or waits on: nothing but the end of that wakes it.
        attachable.execute("select pg_terminate_backend(%s)", [stopped.backend])
        wait_until_gone(attachable, stopped.backend)
    _survives(attachable, rows, undisturbed)


def test_backfill_goes_on_where_it_was_killed(attachable: _Connection) -> None:
    """What one run has marked the next one does not look at again."""
    with _pausing_after_a_batch(attachable) as stopped:
        _kill_backend(stopped, attachable)
    before = attachable.execute(
        "select relation, last_id, rows_marked from integrity.backfill order by relation"
    ).fetchall()
    marked = attachable.execute(
        "select id, xmin::text from applications_application where integrity_approved"
    ).fetchall()
    assert 0 < len(marked) < 14

    migrate.upgrade(target_of(attachable))

    after = attachable.execute(
        "select relation, last_id, rows_marked from integrity.backfill order by relation"
    ).fetchall()
    assert after > before
    unchanged = attachable.execute(
        "select id, xmin::text from applications_application where integrity_approved"
    ).fetchall()
    assert set(marked) <= set(unchanged)


@pytest.fixture(scope="module")
def crashing() -> Iterator[server.Server]:
    """Yield a server of our own: SIGKILL of one backend takes the sessions of all the others with it."""
    with server.throwaway() as running:
        yield running


def _wait_for_recovery(url: str, seconds: float = 60) -> _Connection:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the server does not come back"
            time.sleep(0.02)


CRASHES = {
    "between_two_batches": ("-x", "backfill-batch=5", "-x", "backfill-pause=10min"),
    "while_the_law_is_attached": ("-x", "backfill-batch=5"),
}


@pytest.mark.parametrize("crash", CRASHES)
def test_server_crashes(crash: str, crashing: server.Server) -> None:
    """The backend is killed for good: PostgreSQL recovers from its log, and the upgrade is run again."""
    with psycopg.connect(crashing.url, autocommit=True) as maintenance:
        maintenance.execute(f"create database {crash}")
    url = crashing.url.replace("/postgres?", f"/{crash}?")
    with psycopg.connect(url) as connection:
        connection.execute(APP_TABLES.read_text())
        for name, plant_one in plant.RULES.items():
            if name != "duplicate_participant":
                plant_one(connection)
        rows = app_rows(connection)
        connection.commit()
        connection.autocommit = True
        migrate.upgrade(target_of(connection))
        expected = snapshot(connection)
        migrate.downgrade(target_of(connection), "base")

        with contextlib.suppress(psycopg.OperationalError), gate(connection) as ddl:
            if crash == "while_the_law_is_attached":
                ddl.close_at("add constraint integrity_assignee_is_participant")
            process = alembic(connection, *CRASHES[crash], "upgrade", "head")
            if crash == "while_the_law_is_attached":
                backend = ddl.wait()
            else:
                backend = _backend_of(connection, BACKFILL)
                while not connection.execute("select from integrity.backfill where rows_marked > 0").fetchall():
                    time.sleep(0.005)
            os.kill(backend, signal.SIGKILL)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "Traceback" not in said

    with _wait_for_recovery(url) as connection:
        connection.execute("drop event trigger gate")
        connection.execute("drop schema gatehouse cascade")
        assert app_rows(connection) == rows
        migrate.upgrade(target_of(connection))
        assert changed(expected, snapshot(connection)) == {}
        assert wrong_markers(connection) == {}
        assert app_rows(connection) == rows
