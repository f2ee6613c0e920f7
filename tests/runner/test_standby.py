"""A hot standby: what reads works there, and what writes says where to go; nothing tries to write in passing."""

import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from checks import account, migrate, server
from checks.target import Target
from tests.support import plant, templates
from tests.support.cli import Ran, run_at

# With their exit codes.
READING: dict[tuple[str, ...], int] = {
    ("guards", "--format", "json"): 0,
    ("audit", "--detailed"): 0,
    ("audit", "--format", "json", "--fail-on", "warning"): 1,
    ("metrics",): 0,
    ("rules",): 0,
    ("explain", "duplicate_pending"): 0,
    ("events",): 0,
    ("history", "--detailed"): 0,
    ("repairs",): 0,
    ("statuses",): 0,
}
WRITING: tuple[tuple[str, ...], ...] = (
    ("audit", "--record"),
    ("audit", "--fix-issues", "--dry-run"),
    ("audit", "--fix-issues", "--yes"),
    ("validate",),
    ("history", "--keep", "1 day"),
    ("statuses", "--add", "quests_quest:archived"),
    ("enforce", "duplicate_pending"),
    ("relax", "duplicate_pending"),
    ("undo", "1"),
    ("detach",),
    ("around", "--", "true"),
    ("upgrade",),
    ("downgrade", "base", "-x", "drop-records=true"),
)


REPAIR = ("audit", "--fix-issues", "--yes", "--missing-participant", "create")
# By hand, so that it is left to the guards to note that it is enforced from now on: on the standby they cannot.
VALIDATE = "alter table applications_application validate constraint integrity_approved_application_has_participant"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[server.Server, server.Server]]:
    """Yield a primary with SYNC-001 recorded and repaired, and other violations left, and its standby."""
    with server.throwaway() as primary:
        target = Target(primary.url, "primary")
        with target.connect() as connection:
            connection.execute(templates.APP_TABLES.read_text().encode())
            templates.sync_001(connection)
            plant.duplicate_pending(connection)
        migrate.upgrade(target)
        assert run_at(primary.url, "audit", "--record").code == 1
        assert run_at(primary.url, *REPAIR).code == 0
        with target.connect() as connection:
            connection.execute(VALIDATE.encode())
        with standby_of(primary) as standby:
            yield primary, standby


@contextmanager
def standby_of(primary: server.Server) -> Iterator[server.Server]:
    """Run a copy of a server that follows it, as the account that runs the server."""
    with tempfile.TemporaryDirectory(prefix="qi-", dir=primary.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        standby = server.Server(primary.binaries, folder, folder / "run")
        for owned in (standby.sockets, standby.data):
            owned.mkdir(mode=0o700)
            account.give(owned)
        base = ("-D", standby.data, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        done = account.run(primary.binaries / "pg_basebackup", *base, "-d", primary.url)
        assert done.returncode == 0, done.stderr
        # Sent as options to the primary only, so that the copy has none of them.
        settings = {**server.THROWAWAY_SETTINGS, "listen_addresses": "", "unix_socket_directories": standby.sockets}
        options = [part for setting, value in settings.items() for part in ("-c", f"{setting}={value}")]
        with standby.log.open("wb") as log:
            process = account.start([primary.binaries / "postgres", "-D", standby.data, *options], log, log)
        try:
            standby._wait_ready(lambda: process.poll() is None)
            yield standby
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(server.STOP_SECONDS)


def shown(ran: Ran) -> tuple[int, str]:
    """Return how it ended and what it printed, without what differs from call to call."""
    return ran.code, re.sub(r"\d\d:\d\d:\d\d\S*", "", ran.out)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_what_only_reads_says_the_same_there(
    pair: tuple[server.Server, server.Server], command: tuple[str, ...]
) -> None:
    primary, standby = pair
    # The standby first: the primary would note what it finds, and the standby learn of it.
    there = run_at(standby.url, *command)
    assert (there.code, "Traceback" in there.err, "25006" in there.err) == (READING[command], False, False), there.err
    assert shown(there) == shown(run_at(primary.url, *command))


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_what_writes_says_where_to_go(pair: tuple[server.Server, server.Server], command: tuple[str, ...]) -> None:
    ran = run_at(pair[1].url, *command)
    assert (ran.code, ran.out, "Traceback" in ran.err) == (2, "", False), ran.err
    assert "the database is read-only: connect to the primary" in ran.err.splitlines()[-1]


def test_the_report(pair: tuple[server.Server, server.Server], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run_at(pair[1].url, "report", "--html", page).code == 0
    assert "duplicate_pending" in page.read_text()
