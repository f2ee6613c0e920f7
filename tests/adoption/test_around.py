"""quest-integrity around: the command runs while the layer is detached, and it is attached whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checks import attachment
from tests.support.catalog import changed, snapshot
from tests.support.cli import blocked, finish, run, spawn
from tests.support.database import another, url_of

_Connection = psycopg.Connection[Any]

SECONDS = 60


def python(program: str, *arguments: object) -> list[str]:
    """Return what to run after `around`: a program that finds the database in DATABASE_URL."""
    start = "import os, signal, sys, time, psycopg; connection = psycopg.connect(sys.argv[1], autocommit=True)\n"
    return ["around", "--", sys.executable, "-c", start + program, *map(str, arguments)]


IS_DETACHED = "found = connection.execute('select count(*) from integrity.detached_object').fetchone()\n"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 7])
def test_exit_code_is_the_commands(code: int, migrated: _Connection) -> None:
    before = snapshot(migrated)
    ran = run(migrated, *python(f"{IS_DETACHED}sys.exit({code} if found[0] > 20 else 99)", url_of(migrated)))
    assert ran.code == code
    assert ran.out == ""
    assert "\n0 errors, 0 warnings" in ran.err
    assert changed(before, snapshot(migrated)) == {}


def test_what_the_command_says_is_what_comes_out(migrated: _Connection) -> None:
    process = spawn(url_of(migrated), "around", "--", "sh", "-c", "echo out; echo err >&2; echo $0 $@", "-x", "--help")
    ran = finish(process)
    assert (ran.code, ran.out) == (0, "out\n-x --help\n")
    assert "\nerr\n" in ran.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "around needs a command: `quest-integrity around -- python manage.py migrate`"),
        (["--"], "around needs a command: `quest-integrity around -- python manage.py migrate`"),
        (
            ["--", "no-such-command", "-x"],
            "there is no command 'no-such-command', nothing was done: name a program on PATH",
        ),
    ],
)
def test_no_command(arguments: list[str], sentence: str, migrated: _Connection) -> None:
    ran = run(migrated, "around", *arguments)
    assert (ran.code, ran.err.splitlines()[-1]) == (2, f"error: {sentence}")
    assert migrated.execute("select from integrity.event where kind = 'detached'").fetchall() == []


def test_command_that_cannot_start(migrated: _Connection, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    ran = run(migrated, "around", "--", broken)
    assert ran.code == 2
    assert "cannot run" in ran.err
    assert attachment.since(migrated) is None


def test_could_not_attach(migrated: _Connection) -> None:
    """Whatever the command's exit code."""
    drop = "connection.execute('alter table quests_questparticipant drop column progress_notes')\nsys.exit(5)"
    ran = run(migrated, *python(drop, url_of(migrated)))
    assert ran.code == 3
    assert "column quests_questparticipant.progress_notes: found missing" in ran.err
    assert attachment.since(migrated)
    migrated.execute("alter table quests_questparticipant add column progress_notes text not null default ''")
    migrated.commit()
    assert run(migrated, "around", "--", "true").code == 0
    assert run(migrated, "guards").code == 0


def test_server_gone_meanwhile(migrated: _Connection) -> None:
    """As seen from here: a role that may not log in any more."""
    migrated.execute("drop role if exists passing")
    migrated.execute("create role passing superuser login")
    migrated.commit()
    url = url_of(migrated).replace("postgresql://postgres@", "postgresql://passing@")
    try:
        lock_out = "connection.execute('alter role passing nologin')"
        ran = finish(spawn(url, *python(lock_out, url_of(migrated))))
        assert ran.code == 3
        assert "run `quest-integrity attach`" in ran.err.splitlines()[-1]
        assert "Traceback" not in ran.err
        assert run(migrated, "attach").code == 0
    finally:
        migrated.execute("drop role passing")
        migrated.commit()


WAITS = """
{ignoring}
try:
    print("started", os.getpid(), flush=True)
    time.sleep(60)
finally:
    print("cleaned up", flush=True)
"""


def _started(connection: _Connection, ignoring: str = "") -> tuple[subprocess.Popen[str], int]:
    """Return the process of `around` and the pid of its command, which is at work."""
    process = spawn(url_of(connection), *python(WAITS.format(ignoring=ignoring), url_of(connection)))
    assert process.stdout is not None
    started, pid = process.stdout.readline().split()
    assert started == "started"
    return process, int(pid)


@pytest.mark.parametrize(
    ("stop", "code", "out"),
    [
        # Python raises KeyboardInterrupt, and then ends by the signal.
        (signal.SIGINT, 128 + signal.SIGINT, "cleaned up\n"),
        (signal.SIGTERM, 128 + signal.SIGTERM, ""),
    ],
)
def test_interrupted(stop: signal.Signals, code: int, out: str, migrated: _Connection) -> None:
    before = snapshot(migrated)
    process, _ = _started(migrated)
    process.send_signal(stop)
    ran = finish(process)
    assert (ran.code, ran.out) == (code, out)
    assert "Traceback" not in ran.err.replace("Traceback", "", 1)
    assert changed(before, snapshot(migrated)) == {}


def test_command_that_goes_on_is_waited_for(migrated: _Connection) -> None:
    process, _ = _started(migrated, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))")
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 4
    assert attachment.since(migrated) is None


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_before_it_is_detached(stop: signal.Signals, migrated: _Connection, tmp_path: Path) -> None:
    before, made = snapshot(migrated), tmp_path / "made"
    with another(migrated) as holder, another(migrated, autocommit=True) as observer:
        lock = "lock table quests_quest in row exclusive mode"
        with blocked(holder, observer, lock, "around", "--", "touch", made) as process:
            process.send_signal(stop)
            ran = finish(process)
    assert (ran.code, "Traceback" in ran.err) == (128 + stop, False)
    assert not made.exists()
    assert changed(before, snapshot(migrated)) == {}


def test_interrupted_while_it_is_attached(migrated: _Connection) -> None:
    """It is held until the layer is back."""
    before = snapshot(migrated)
    with another(migrated) as holder, another(migrated, autocommit=True) as observer:
        process, _ = _started(migrated, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))")
        holder.execute("lock table quests_quest in row exclusive mode")
        process.send_signal(signal.SIGTERM)
        waiting = (
            "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            " and application_name = 'quest-integrity'"
        )
        _wait(lambda: bool(observer.execute(waiting).fetchall()))
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        holder.rollback()
        ran = finish(process)
    assert (ran.code, "Traceback" in ran.err) == (0, False)
    assert changed(before, snapshot(migrated)) == {}


def test_killed_and_run_again(migrated: _Connection) -> None:
    before = snapshot(migrated)
    process, command = _started(migrated)
    process.kill()
    process.wait(timeout=SECONDS)
    os.kill(command, signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    assert attachment.since(migrated)
    assert run(migrated, "around", "--", "true").code == 0
    assert changed(before, snapshot(migrated)) == {}
