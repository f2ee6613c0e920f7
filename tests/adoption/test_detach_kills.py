"""detach, attach and around, killed anywhere: the law holds, nothing is half done, and run again they work."""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from checks import attachment, ddl
from tests.support import factory
from tests.support.catalog import changed, snapshot
from tests.support.cli import finish, run, spawn
from tests.support.database import another, url_of
from tests.support.gate import Gate, gate
from tests.support.revisions import app_rows
from tests.support.waiting import wait_until_gone

_Connection = psycopg.Connection[Any]
_Command = Callable[[_Connection, ddl.LockPolicy], object]

ATTACHED, VIEWS_ONLY, DETACHED = "attached", "views only", "detached"
STATE = """
select
  (select count(*) from integrity.dependent where kind <> 'trigger'),
  (select count(*) from integrity.dependent where kind = 'trigger'),
  (select count(*) from integrity.detached_object)
"""
# What a client would write that knows the marker, but not what follows from an approval.
APPROVE = "update applications_application set status = 'approved', integrity_approved = true where id = %s"


def _state(connection: _Connection) -> str:
    """Say which of three states the layer is in; any other is half done."""
    row = connection.execute(STATE).fetchone()
    assert row is not None
    views, triggers, dropped = (bool(count) for count in row)
    states = {
        (True, True, False): ATTACHED,
        (True, False, True): VIEWS_ONLY,
        (False, False, True): DETACHED,
    }
    return states[views, triggers, dropped]


def _law_holds(connection: _Connection, application: int) -> bool:
    """Approve, and see whether the participant is there or the approval is refused."""
    refused = None
    with connection.transaction(force_rollback=True):
        try:
            connection.execute(APPROVE, [application])
            connection.execute("set constraints all immediate")
        except errors.ForeignKeyViolation as error:
            refused = error.diag.constraint_name
    state = _state(connection)
    return refused == (None if state == ATTACHED else "integrity_approved_application_has_participant")


def _stopped(doors: Gate, future: "Future[object]") -> int | None:
    """Return the backend that stands at the gate, None when the command has got through."""
    while not future.done():
        with contextlib.suppress(AssertionError):
            return doors.wait(seconds=0.1)
    return None


def _killed_at(
    number: int, command: _Command, connection: _Connection, doors: Gate, worker: ThreadPoolExecutor
) -> bool:
    """Run a command and kill its backend at a DDL command; say whether there are as many."""

    def work() -> object:
        with another(connection, autocommit=True) as session:
            return command(session, ddl.LockPolicy())

    doors.close_at(number)
    future = worker.submit(work)
    backend = _stopped(doors, future)
    if backend is not None:
        connection.execute("select pg_terminate_backend(%s)", [backend])
        with pytest.raises(psycopg.OperationalError):
            future.result(timeout=60)
        wait_until_gone(connection, backend)
    doors.open()
    future.exception(timeout=60)
    return backend is not None


@pytest.fixture
def application(migrated: _Connection) -> int:
    identifier = factory.application(migrated, factory.quest(migrated), factory.user(migrated))
    migrated.commit()
    migrated.autocommit = True
    return identifier


@pytest.mark.parametrize("step", [40, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["detach", "attach"])
def test_killed_at_any_command(name: str, step: int, migrated: _Connection, application: int) -> None:
    """Each run goes on from what the kill before it has left, until one gets through."""
    before, rows = snapshot(migrated), app_rows(migrated)
    left: set[str] = set()
    kills = 0
    if name == "attach":
        run(migrated, "detach")
    with gate(migrated) as doors, ThreadPoolExecutor(1) as worker:
        number = 1
        while _killed_at(number, getattr(attachment, name), migrated, doors, worker):
            kills += 1
            state = _state(migrated)
            assert _law_holds(migrated, application), (number, state)
            number = 1 if state not in left and left else number + step
            left.add(state)
    assert kills >= 30 // step
    assert left == ({ATTACHED} if name == "detach" else {DETACHED, VIEWS_ONLY})
    assert _state(migrated) == (DETACHED if name == "detach" else ATTACHED)
    assert _law_holds(migrated, application)
    assert app_rows(migrated) == rows
    assert run(migrated, "attach").code == 0
    assert changed(before, snapshot(migrated)) == {}


# Each step of `around` by what it runs there, and what is left when its process is killed: a backend whose client is
# gone finishes its statement, which is all of detach, but not the transaction of attach.
STEPS = {
    "detach": (r"integrity\.detach\(\)", DETACHED, ATTACHED),
    "views": (r"view integrity\.unknown_status", DETACHED, DETACHED),
    "triggers": (r"create .*trigger integrity_", VIEWS_ONLY, VIEWS_ONLY),
}


@pytest.mark.parametrize("victim", ["process", "backend"])
@pytest.mark.parametrize("step", STEPS)
def test_around_is_killed(step: str, victim: str, migrated: _Connection, application: int, tmp_path: Path) -> None:
    before, made = snapshot(migrated), tmp_path / "made"
    pattern, after_process, after_backend = STEPS[step]
    with gate(migrated) as doors:
        doors.close_at(pattern)
        process = spawn(url_of(migrated), "around", "--", "touch", made)
        backend = doors.wait()
        if victim == "process":
            process.kill()
            process.wait(timeout=60)
        else:
            migrated.execute("select pg_terminate_backend(%s)", [backend])
        doors.open()
        ran = finish(process)
        wait_until_gone(migrated, backend)
        if victim == "backend":
            assert (ran.code, "Traceback" in ran.err) == (2 if step == "detach" else 3, False)
        assert _state(migrated) == (after_process if victim == "process" else after_backend)
        assert _law_holds(migrated, application)
        assert made.exists() == (step != "detach")
    assert run(migrated, "around", "--", "true").code == 0
    assert changed(before, snapshot(migrated)) == {}
