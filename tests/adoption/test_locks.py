"""Clients in the way of an upgrade: it waits briefly, lets them through, tries again, and says so."""

import contextlib
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from pytest_postgresql.executors import NoopExecutor

from checks import migrate
from checks.migrate import revisions
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.database import another, copied, target_of
from tests.support.programs import alembic
from tests.support.revisions import wrong_markers
from tests.support.waiting import wait_until_blocked

_Connection = psycopg.Connection[Any]

BUILDING = """
select pid from pg_stat_activity
where datname = current_database() and application_name = 'quest-integrity'
  and query ilike 'create unique index concurrently%' and wait_event_type = 'Lock'
"""

READ = "select count(*) from {}"
# Nothing changes; what counts is the lock.
WRITE = "update {} set status = status where false"

# The revision, and what a client has done in a transaction that it leaves open.
IN_THE_WAY = {
    "reader_of_applications": ("0004_markers", READ.format("applications_application")),
    "reader_of_participants": ("0004_markers", READ.format("quests_questparticipant")),
    "writer_of_quests": ("0004_markers", WRITE.format("quests_quest")),
    "reader_while_a_key_is_attached": ("0006_keys", READ.format("quests_questparticipant")),
    "reader_while_the_law_is_attached": ("0007_law", READ.format("applications_application")),
    "writer_while_the_law_is_attached": ("0007_law", WRITE.format("quests_quest")),
    "vacuum_while_it_is_validated": ("0009_validate", "lock table quests_quest in share update exclusive mode"),
}


# CREATE INDEX CONCURRENTLY waits for every writer of the table, and when it gives up it leaves an invalid index.
WRITERS_WHILE_A_KEY_IS_BUILT = {
    "0006_keys": WRITE.format("quests_quest"),
    "0008_approval_key": WRITE.format("applications_application"),
}
QUICK = ["lock-timeout=50ms", "lock-retries=2"]


def _before(revision: str) -> str:
    return revisions()[revisions().index(revision) - 1]


@contextlib.contextmanager
def _in_the_way(connection: _Connection, statement: str) -> Iterator[_Connection]:
    with another(connection) as client:
        client.execute(statement)
        yield client


def _wait_for_retries(said: io.StringIO, upgrade: Future[None], retries: int) -> None:
    """Wait until an upgrade has said so many times that it gave up a lock."""
    while said.getvalue().count("trying again") < retries:
        assert not upgrade.done(), f"it ended instead: {upgrade.exception() or said.getvalue()}"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def stairs(live_server: NoopExecutor) -> dict[str, Snapshot]:
    """Return the catalog that an upgrade of `live` leaves which nobody is in the way of, by revision."""
    found = {}
    with copied(live_server, "stairs") as connection:
        for revision in sorted({*(revision for revision, _ in IN_THE_WAY.values()), *WRITERS_WHILE_A_KEY_IS_BUILT}):
            migrate.upgrade(target_of(connection), revision)
            found[revision] = snapshot(connection)
    return found


@pytest.mark.parametrize("way", IN_THE_WAY)
def test_upgrade_tries_again_until_the_client_is_done(way: str, live: _Connection, stairs: dict[str, Snapshot]) -> None:
    revision, statement = IN_THE_WAY[way]
    migrate.upgrade(target_of(live), _before(revision))
    with ThreadPoolExecutor(1) as pool, contextlib.redirect_stderr(io.StringIO()) as said:
        with _in_the_way(live, statement):
            upgrade = pool.submit(migrate.upgrade, target_of(live), revision, ["lock-timeout=100ms"])
            _wait_for_retries(said, upgrade, 2)
        upgrade.result(timeout=120)
    assert changed(stairs[revision], snapshot(live)) == {}


@pytest.mark.parametrize(
    "way",
    [
        "writer_of_quests",
        "reader_while_the_law_is_attached",
        "vacuum_while_it_is_validated",
    ],
)
def test_upgrade_gives_up_in_the_end_and_can_be_run_again(
    way: str, attachable: _Connection, undisturbed: Snapshot
) -> None:
    revision, statement = IN_THE_WAY[way]
    target = target_of(attachable)
    migrate.upgrade(target, _before(revision))
    with _in_the_way(attachable, statement):
        upgrade = alembic(attachable, "-x", "lock-timeout=50ms", "-x", "lock-retries=2", "upgrade", "head")
        _, said = upgrade.communicate(timeout=120)
    assert upgrade.returncode == 2
    assert "Traceback" not in said
    assert "SQLSTATE 55P03" in said
    assert migrate.current_revision(attachable) == _before(revision)

    migrate.upgrade(target, "head", QUICK)
    assert changed(undisturbed, snapshot(attachable)) == {}
    assert wrong_markers(attachable) == {}


def _wait_for_a_build(connection: _Connection, seconds: float = 60) -> int:
    """Wait until somebody builds an index and waits for a client in the way; return the backend's pid."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        row = connection.execute(BUILDING).fetchone()
        if row is not None:
            wait_until_blocked(connection, row[0])
            return int(row[0])
        time.sleep(0.005)
    raise AssertionError("nobody builds an index")


@pytest.mark.parametrize("revision", WRITERS_WHILE_A_KEY_IS_BUILT)
def test_build_of_a_key_waits_for_writers(revision: str, live: _Connection, stairs: dict[str, Snapshot]) -> None:
    """In one go, longer than a single attempt at a lock may wait: nobody else is held up by it."""
    statement = WRITERS_WHILE_A_KEY_IS_BUILT[revision]
    migrate.upgrade(target_of(live), _before(revision))
    with ThreadPoolExecutor(1) as pool:
        with _in_the_way(live, statement):
            x = ["lock-timeout=20ms", "lock-retries=3000"]
            upgrade = pool.submit(migrate.upgrade, target_of(live), revision, x)
            builder = _wait_for_a_build(live)
            # Readers and writers pass while it waits.
            live.execute("set lock_timeout = '5s'")
            live.execute(statement)
            live.execute("select pg_sleep(0.1)")
            assert _wait_for_a_build(live) == builder
        upgrade.result(timeout=120)
    assert changed(stairs[revision], snapshot(live)) == {}


@pytest.mark.parametrize("revision", WRITERS_WHILE_A_KEY_IS_BUILT)
def test_build_of_a_key_gives_up_in_the_end_and_can_be_run_again(
    revision: str, live: _Connection, stairs: dict[str, Snapshot]
) -> None:
    migrate.upgrade(target_of(live), _before(revision))
    with _in_the_way(live, WRITERS_WHILE_A_KEY_IS_BUILT[revision]):
        upgrade = alembic(live, "-x", "lock-timeout=50ms", "-x", "lock-retries=2", "upgrade", revision)
        _, said = upgrade.communicate(timeout=120)
    assert upgrade.returncode == 2
    assert "Traceback" not in said
    leftover = live.execute("select indexrelid::regclass::text from pg_index where not indisvalid").fetchall()
    assert len(leftover) == 1

    migrate.upgrade(target_of(live), revision, QUICK)
    assert changed(stairs[revision], snapshot(live)) == {}


def test_no_client_waits_for_the_upgrade(attachable: _Connection) -> None:
    """While the upgrade cannot have its lock, others queue up behind it no longer than its own timeout."""
    migrate.upgrade(target_of(attachable), "0003_events")
    stop = threading.Event()
    served = 0

    def serve() -> None:
        nonlocal served
        with another(attachable, autocommit=True) as client:
            # Many times the upgrade's own; without a timeout there it would be the whole test.
            client.execute("set lock_timeout = '5s'")
            while not stop.is_set():
                client.execute(
                    "update quests_quest set updated_at = now() where id = (select min(id) from quests_quest)"
                )
                client.execute("select count(*) from quests_quest")
                served += 1

    client = threading.Thread(target=_keep(serve))
    with ThreadPoolExecutor(1) as pool, contextlib.redirect_stderr(io.StringIO()) as said:
        with _in_the_way(attachable, "select count(*) from quests_quest"):
            client.start()
            upgrade = pool.submit(migrate.upgrade, target_of(attachable), "head", ["lock-timeout=100ms"])
            _wait_for_retries(said, upgrade, 5)
            during = served
            stop.set()
            client.join()
        upgrade.result(timeout=120)
    assert _failures == []
    assert during > 5


_failures: list[BaseException] = []


def _keep(work: Any) -> Any:
    def run() -> None:
        try:
            work()
        except BaseException as error:
            _failures.append(error)

    return run
