"""Crashes: whatever is killed, fills up or times out, what was acknowledged is there and no half of anything is.

Clients approve and kick concurrently and remember what the server acknowledged. Backends and the whole postmaster are
killed under them. CI kills ten times; `make crashes` two hundred.
"""

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checks import migrate, server
from checks.errors import UserError
from checks.target import Target
from tests.support import factory
from tests.support.database import another
from tests.support.waiting import wait_until_blocked

CLIENTS = 4
QUESTS = 40
APPLICANTS = 4
ACKNOWLEDGED_BETWEEN_KILLS = 25
DEADLINE_SECONDS = 120
SEED = 20260702

Connection = psycopg.Connection[Any]


@dataclass
class Client:
    """One client with applications of its own: what it was told, and what it asked for and never heard of."""

    url: str
    applications: list[int]
    seed: int
    stop: threading.Event
    told: dict[int, str] = field(default_factory=dict)
    unheard: dict[int, str] = field(default_factory=dict)
    acknowledged: int = 0
    failure: BaseException | None = None

    def run(self) -> None:
        """Approve and kick until told to stop; a lost connection is opened again."""
        choose = random.Random(self.seed)
        try:
            while not self.stop.is_set():
                try:
                    with psycopg.connect(self.url, autocommit=True) as connection:
                        self._work(connection, choose)
                except psycopg.OperationalError:
                    # Also 40001, 40P01 and 57P0x: the transaction is lost, or nobody knows.
                    self.stop.wait(0.01)
        except BaseException as error:
            self.failure = error
            raise

    def _work(self, connection: Connection, choose: random.Random) -> None:
        while not self.stop.is_set():
            application = choose.choice(self.applications)
            wanted = choose.choice(["approved", "kicked"])
            self.unheard[application] = wanted
            try:
                connection.execute(
                    "update applications_application set status = %s where id = %s", [wanted, application]
                )
            except psycopg.errors.OperationalError as error:
                if error.sqlstate in {"40001", "40P01"}:
                    # The server said that nothing happened.
                    del self.unheard[application]
                    continue
                found = self._ask(application)
                self.told[application] = found
                raise
            del self.unheard[application]
            self.told[application] = wanted
            self.acknowledged += 1

    def _ask(self, application: int) -> str:
        """Find out, as a client that lost its connection does; both answers are legitimate, a third is not."""
        while True:
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    row = connection.execute(
                        "select status from applications_application where id = %s", [application]
                    ).fetchone()
            except psycopg.OperationalError:
                if self.stop.wait(0.01):
                    return self.told.get(application, "pending")
                continue
            assert row is not None
            assert row[0] in {self.told.get(application, "pending"), self.unheard[application]}
            del self.unheard[application]
            return str(row[0])


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[server.Server]:
    """Yield a server that can be killed and started again, on durable settings."""
    folder = Path(f"/dev/shm/quest-integrity-crash-{os.getpid()}")
    monkeypatch.setenv("QUEST_INTEGRITY_STATE_DIR", str(folder))
    running = server.persistent()
    running.start()
    yield running
    running.start()
    running.stop()
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def load(target: Target) -> list[int]:
    """Insert quests with pending applications; return the applications."""
    with target.connect() as connection:
        category = factory.category(connection)
        creator = factory.user(connection)
        applicants = [factory.user(connection) for _ in range(APPLICANTS)]
        return [
            factory.application(connection, quest, applicant)
            for quest in [factory.quest(connection, category_id=category, creator_id=creator) for _ in range(QUESTS)]
            for applicant in applicants
        ]


def kill_one(running: server.Server, choose: random.Random, *, postmaster: bool) -> None:
    """SIGKILL the postmaster, or a random client's backend, which makes the postmaster start all over."""
    main = int((running.data / "postmaster.pid").read_text().split("\n", 1)[0])
    if postmaster:
        os.kill(main, signal.SIGKILL)
        return
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    backends = [pid for pid in map(int, children) if b"postgres: postgres postgres" in _title(pid)]
    if backends:
        os.kill(choose.choice(backends), signal.SIGKILL)


def start_again(running: server.Server) -> None:
    """Start the server as an operator does after a crash: it refuses while a session of the dead one lives on."""
    patience = threading.Event()
    for _ in range(DEADLINE_SECONDS * 20):
        try:
            running.start()
        except UserError:
            patience.wait(0.05)
        else:
            return
    running.start()


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def crash(running: server.Server, kills: int) -> list[Client]:
    """Run the clients through so many kills and return them, ended."""
    target = Target(running.url, "test")
    migrate.upgrade(target)
    applications = load(target)
    choose = random.Random(SEED)
    choose.shuffle(applications)
    stop = threading.Event()
    clients = [Client(running.url, applications[number::CLIENTS], SEED + number, stop) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        for number in range(kills):
            wait_for_acknowledgements(clients)
            kill_one(running, choose, postmaster=number % 5 == 4)
            start_again(running)
        wait_for_acknowledgements(clients)
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
    return clients


def wait_for_acknowledgements(clients: list[Client]) -> None:
    """Wait until the server has acknowledged some more: a kill must meet work in progress."""
    enough = sum(client.acknowledged for client in clients) + ACKNOWLEDGED_BETWEEN_KILLS
    patience = threading.Event()
    for _ in range(DEADLINE_SECONDS * 200):
        assert all(client.failure is None for client in clients), [client.failure for client in clients]
        if sum(client.acknowledged for client in clients) >= enough:
            return
        patience.wait(0.005)
    pytest.fail(f"no progress in {DEADLINE_SECONDS} s")


def verify(running: server.Server, clients: list[Client]) -> None:
    """Nothing broken, everything acknowledged there, nothing half-done."""
    with psycopg.connect(running.url) as connection:
        assert connection.execute("select key from integrity.violations where severity = 'error'").fetchall() == []
        found = dict(
            connection.execute(
                "select application.id, (application.status, coalesce(participant.status, 'none'))::text "
                "from applications_application as application left join quests_questparticipant as participant "
                "on participant.quest_id = application.quest_id and participant.user_id = application.applicant_id"
            ).fetchall()
        )
    for client in clients:
        for application in client.applications:
            status = client.told.get(application, "pending")
            allowed = {status, client.unheard.get(application, status)}
            states = {
                state
                for one in allowed
                for state in {
                    "approved": {"(approved,joined)"},
                    "kicked": {"(kicked,dropped)", "(kicked,none)"},
                    "pending": {"(pending,none)"},
                }[one]
            }
            assert found[application] in states, (application, found[application], allowed)


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_acknowledged_approvals_survive_kills(own_server: server.Server, kills: int) -> None:
    clients = crash(own_server, kills)

    verify(own_server, clients)
    acknowledged = sum(client.acknowledged for client in clients)
    assert acknowledged >= kills * ACKNOWLEDGED_BETWEEN_KILLS
    print(f"{kills} kills, {acknowledged} acknowledged changes, seed {SEED}")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Yield a file system of 300 MiB."""
    folder = Path(f"/tmp/quest-integrity-disk-{os.getpid()}")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m,mode=755", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"cannot mount a small tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


def reject_and_kick_everybody(connection: Connection) -> None:
    """Write every application twice and commit."""
    connection.execute("update applications_application set status = 'rejected'")
    connection.execute("update applications_application set status = 'kicked'")
    connection.commit()


def test_a_full_disk_leaves_no_half(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEST_INTEGRITY_STATE_DIR", str(small_disk / "state"))
    running = server.persistent()
    running.start()
    target = Target(running.url, "test")
    migrate.upgrade(target)
    load(target)
    ballast = small_disk / "ballast"
    with psycopg.connect(running.url) as connection:
        connection.execute(
            "insert into applications_application (status, applied_at, applicant_id, quest_id) "
            "select 'pending', now(), applicant_id, quest_id from applications_application "
            "cross join generate_series(1, 300)"
        )
        connection.commit()
        free = os.statvfs(small_disk)
        ballast.write_bytes(b"\0" * max(free.f_bavail * free.f_frsize - 4 * 1024**2, 0))
        # Rejecting touches every row: the disk is full long before it is done.
        with pytest.raises(psycopg.OperationalError) as full:
            reject_and_kick_everybody(connection)
    # 53100, or a lost connection when it was the WAL that found no room.
    assert full.value.sqlstate in {"53100", "57P02", "57P01", None}
    ballast.unlink()
    running.start()

    with psycopg.connect(running.url) as connection:
        assert connection.execute("select key from integrity.violations where severity = 'error'").fetchall() == []
        statuses = connection.execute("select distinct status from applications_application").fetchall()
        assert statuses == [("pending",)]
    running.stop()


def approvals(connection: Connection, count: int) -> list[int]:
    """Insert so many pending applications, each on a quest of its own."""
    category = factory.category(connection)
    creator = factory.user(connection)
    ids = [
        factory.application(
            connection, factory.quest(connection, category_id=category, creator_id=creator), factory.user(connection)
        )
        for _ in range(count)
    ]
    connection.commit()
    return ids


def state(connection: Connection) -> tuple[int, int, int]:
    """Return how many applications are approved, participants active and quests assigned; ends the transaction."""
    row = connection.execute(
        "select (select count(*) from applications_application where status = 'approved'), "
        "(select count(*) from quests_questparticipant where status <> 'dropped'), "
        "(select count(*) from quests_quest where assigned_to_id is not null)"
    ).fetchone()
    connection.rollback()
    assert row is not None
    return row


def test_statement_timeout_at_any_point_leaves_all_or_nothing(migrated: Connection) -> None:
    ids = approvals(migrated, 60)
    choose = random.Random(SEED)
    cancelled = done = 0
    while cancelled < 25 or not done:
        limit = choose.randint(1, 8) if cancelled < 25 else 0
        try:
            migrated.execute(f"set local statement_timeout = {limit}")
            migrated.execute("update applications_application set status = 'approved' where id = any(%s)", [ids])
            migrated.commit()
        except psycopg.errors.QueryCanceled:
            migrated.rollback()
            cancelled += 1
            assert state(migrated) == (0, 0, 0)
            continue
        done += 1
        assert state(migrated) == (60, 60, 60)
        migrated.execute("update applications_application set status = 'kicked' where id = any(%s)", [ids])
        migrated.commit()
        assert state(migrated) == (0, 0, 0)


def test_lock_timeout_leaves_nothing(migrated: Connection) -> None:
    (application,) = approvals(migrated, 1)
    with another(migrated) as holder:
        holder.execute("select from quests_quest for update")
        migrated.execute("set local lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrated.execute("update applications_application set status = 'approved' where id = %s", [application])
        migrated.rollback()
    assert state(migrated) == (0, 0, 0)


def test_idle_in_transaction_timeout_leaves_nothing(migrated: Connection) -> None:
    (application,) = approvals(migrated, 1)
    with another(migrated) as idle, another(migrated) as waiting:
        idle.execute("set local idle_in_transaction_session_timeout = '200ms'")
        idle.execute("update applications_application set status = 'approved' where id = %s", [application])
        pid = waiting.info.backend_pid
        locked = threading.Thread(target=waiting.execute, args=["select from quests_quest for update"])
        locked.start()
        wait_until_blocked(migrated, pid)
        # The other session gets the lock when the idle one has been ended by the server.
        locked.join(DEADLINE_SECONDS)
        assert not locked.is_alive()
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            idle.execute("select 1")
    migrated.rollback()
    assert state(migrated) == (0, 0, 0)
