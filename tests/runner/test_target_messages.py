"""What every command says about the database it works on, and when it cannot: one sentence, exit code 2."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from checks import server
from tests.support.cli import Ran, finish, run, run_at, spawn
from tests.support.database import url_of

_Connection = psycopg.Connection[Any]
PASSWORD = "sesame-0pen"
COMMANDS: dict[str, tuple[str, ...]] = {
    "audit": ("audit",),
    "repair": ("audit", "--fix-issues", "--yes", "--missing-participant", "create"),
    "preview": ("audit", "--fix-issues", "--dry-run"),
    "validate": ("validate",),
    "rules": ("rules",),
    "explain": ("explain", "unknown_status"),
    "repairs": ("repairs",),
    "undo": ("undo", "1"),
    "events": ("events",),
    "guards": ("guards",),
}
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(scope="module")
def guarded() -> Iterator[server.Server]:
    """Yield a server that asks the role ``ali`` for a password."""
    with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
        hba = Path(name) / "pg_hba.conf"
        hba.write_text("local all ali scram-sha-256\nlocal all all trust\n")
        # The server runs as somebody else when we are root.
        Path(name).chmod(0o755)
        with server.throwaway({"hba_file": str(hba)}) as running:
            with psycopg.connect(running.url) as connection:
                connection.execute(f"create role ali login password '{PASSWORD}'")
            yield running


def guarded_url(running: server.Server, password: str) -> str:
    return f"postgresql://ali:{password}@/postgres?host={quote(str(running.sockets), safe='')}&port={running.port}"


def assert_one_sentence(ran: Ran, *said: str) -> None:
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
    lines = ran.err.splitlines()
    assert lines[-1].startswith("error: ")
    # The database's name, and the sentence.
    assert len(lines) <= 2
    for each in said:
        assert each in lines[-1]


@every_command
def test_not_migrated(app_only: _Connection, command: tuple[str, ...]) -> None:
    assert_one_sentence(run(app_only, *command), "quest-integrity upgrade")


@every_command
def test_a_missing_permission(migrated: _Connection, command: tuple[str, ...]) -> None:
    migrated.commit()
    ran = run_at(f"{url_of(migrated)}&options=-c%20role%3Dpg_monitor", *command)
    assert_one_sentence(ran, "permission", "42501")


def test_who_may_only_read_can_audit_and_not_repair(sync_001: _Connection) -> None:
    sync_001.commit()
    url = f"{url_of(sync_001)}&options=-c%20role%3Dpg_read_all_data"
    assert run_at(url, "audit").code == 1
    assert run_at(url, "rules").code == 0
    assert run_at(url, "repairs").code == 0
    for command in ("repair", "preview"):
        assert_one_sentence(run_at(url, *COMMANDS[command]), "42501")


def test_a_standby_or_read_only_session(sync_001: _Connection) -> None:
    sync_001.commit()
    url = f"{url_of(sync_001)}&options=-c%20default_transaction_read_only%3Don"
    assert run_at(url, "audit").code == 1
    assert_one_sentence(run_at(url, "audit", "--fix-issues", "--yes", "--missing-participant", "create"), "25006")


@every_command
def test_unreachable(command: tuple[str, ...]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        ran = run_at(f"postgresql://u:{PASSWORD}@127.0.0.1:{holder.getsockname()[1]}/d", *command)
    assert_one_sentence(ran, "cannot connect")
    assert PASSWORD not in ran.err


@pytest.mark.parametrize("command", [("audit",), ("upgrade",)], ids=" ".join)
def test_a_wrong_password(guarded: server.Server, command: tuple[str, ...]) -> None:
    ran = run_at(guarded_url(guarded, "wrong-" + PASSWORD), *command)
    assert_one_sentence(ran, "password")
    assert PASSWORD not in ran.err


def test_the_right_password_is_shown_to_nobody(guarded: server.Server) -> None:
    ran = run_at(guarded_url(guarded, PASSWORD), "audit")
    assert_one_sentence(ran, "not migrated")
    assert ran.err.splitlines()[0] == (f"database: ali@{guarded.sockets}:{guarded.port}/postgres (from --database-url)")
    assert PASSWORD not in ran.err


@every_command
def test_says_which_database_it_works_on(migrated: _Connection, command: tuple[str, ...]) -> None:
    ran = run(migrated, *command)
    info = migrated.info
    assert ran.err.splitlines()[0] == (
        f"database: {info.user}@{info.host}:{info.port}/{info.dbname} (from --database-url)"
    )


def test_a_url_that_nobody_understands() -> None:
    assert_one_sentence(finish(spawn("mysql://root@localhost/db", "audit")), "--database-url")


def test_a_table_that_has_gone(migrated: _Connection) -> None:
    """The audit could not run, but the guards know why, and that is the worse news."""
    migrated.execute("drop table applications_application cascade")
    ran = run(migrated, "audit")
    assert (ran.code, ran.out) == (3, "")
    assert "Traceback" not in ran.err
    _database, error, damage = ran.err.splitlines()
    assert error.startswith("error: ")
    assert "42P01" in error
    assert "quest-integrity guards" in damage
