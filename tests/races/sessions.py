"""Database sessions that one thread drives at once, and the certainty that one of them waits for a lock.

Nothing here sleeps. A backend that has waited for a lock for a millisecond looks for a deadlock and then says so
(``log_lock_waits``, which ``client_min_messages`` brings to the client). That is when ``pg_blocking_pids`` is
asked whether it is one of our own sessions that it waits for. The look for a deadlock is over by then: when a later
wait closes a circle, it is always the later session that finds it, and the same race ends the same way every time.
"""

import select
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PGconn
from psycopg.pq.abc import PGresult

SETTINGS = """
set deadlock_timeout = '1ms';
set log_lock_waits = on;
set client_min_messages = log;
set log_min_messages = panic;
set lock_timeout = 0;
set race.status = '';
set race.assignee = '';
set race.run = ''
"""
# Only a bug of ours, or a machine that stands still, makes a step take this long.
PATIENCE_SECONDS = 120


@dataclass(frozen=True, order=True)
class Refusal:
    """What the database answered to a step that it refused."""

    sqlstate: str
    constraint: str | None

    def __str__(self) -> str:
        return f"{self.sqlstate} {self.constraint}" if self.constraint else self.sqlstate


class Session:
    """One backend that is sent a step and asked later what became of it."""

    def __init__(self, conninfo: str) -> None:
        self._connection = PGconn.connect(conninfo.encode())
        if self._connection.status != ConnStatus.OK:
            raise psycopg.OperationalError(self._connection.get_error_message())
        self._connection.nonblocking = 1
        self._connection.notice_handler = self._notice
        self.socket = self._connection.socket
        self.pid = self._connection.backend_pid
        self.busy = False
        self.blocked = False
        self.suspect = False
        self.refusal: Refusal | None = None

    def send(self, statements: str) -> None:
        """Start one or more statements; ``busy`` until they have ended."""
        self.refusal = None
        self.busy = True
        self.suspect = False
        self._connection.send_query(statements.encode())
        while self._connection.flush():
            pass

    def read(self) -> None:
        """Take what has arrived on the socket."""
        self._connection.consume_input()
        while not self._connection.is_busy():
            result = self._connection.get_result()
            if result is None:
                self.busy = self.blocked = False
                return
            if result.status == ExecStatus.FATAL_ERROR:
                self.refusal = Refusal(
                    _field(result, DiagnosticField.SQLSTATE) or "",
                    _field(result, DiagnosticField.CONSTRAINT_NAME),
                )

    def run(self, statements: str) -> None:
        """Run statements that nobody can block.

        Raises:
            AssertionError: They were refused.
        """
        self.send(statements)
        _read_ready([self])
        while self.busy:
            _read_ready([self])
        assert self.refusal is None, self.refusal

    def close(self) -> None:
        """End the session."""
        self._connection.finish()

    def _notice(self, result: PGresult) -> None:
        # The start and the end of a wait are logged alike; the observer tells which it is.
        if _field(result, DiagnosticField.SEVERITY_NONLOCALIZED) == "LOG":
            self.suspect = True


class Observer:
    """The connection that makes the rows and looks at locks and violations; it is never in anybody's way."""

    def __init__(self, conninfo: str) -> None:
        self.pids: set[int] = set()
        self.connection = psycopg.connect(conninfo, autocommit=True)
        # Rows of the past are made with our triggers and foreign keys off. The rest is speed: the views are
        # asked for one quest's violations again and again.
        self.connection.execute(
            "set session_replication_role = replica; set jit = off; set plan_cache_mode = force_generic_plan; "
            "set enable_seqscan = off"
        )

    def blockers(self, sessions: Sequence[Session]) -> dict[int, set[int]]:
        """Return by pid whom of our sessions each waits for; others, such as autovacuum, soon let go."""
        rows: list[Any] = self.connection.execute(
            "select pid, pg_blocking_pids(pid) from unnest(%s::int[]) as pid",
            [[session.pid for session in sessions]],
            prepare=True,
        ).fetchall()
        return {pid: self.pids.intersection(blockers) for pid, blockers in rows}

    def watch(self, sessions: Iterable[Session]) -> None:
        """Set whose locks count."""
        self.pids = {session.pid for session in sessions}

    def errors(self, quests: Sequence[int]) -> frozenset[str]:
        """Return the keys of the violations of severity error that concern these quests."""
        rows: list[Any] = self.connection.execute(
            "select key from integrity.violations where severity = 'error' and quest_id = any(%s::bigint[])",
            [list(quests)],
            prepare=True,
        ).fetchall()
        return frozenset(key for (key,) in rows)

    def all_errors(self) -> frozenset[str]:
        """Return the keys of all violations of severity error, whatever they concern."""
        rows: list[Any] = self.connection.execute(
            "select key from integrity.violations where severity = 'error'"
        ).fetchall()
        return frozenset(key for (key,) in rows)

    def close(self) -> None:
        """End the session."""
        self.connection.close()


def settle(sessions: Sequence[Session], observer: Observer) -> None:
    """Return when every session has ended its step or is known to wait for one that has.

    Raises:
        AssertionError: One does neither for ``PATIENCE_SECONDS``.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        moving = [session for session in sessions if session.busy and not session.blocked]
        while moving:
            _read_ready(moving)
            _mark_blocked([session for session in moving if session.busy and session.suspect], observer)
            moving = [session for session in moving if session.busy and not session.blocked]
            assert time.monotonic() < deadline, f"sessions neither end nor wait: {[s.pid for s in moving]}"
        # What has just ended may have let others go, and those may wait in a circle by now.
        waiting = [session for session in sessions if session.blocked]
        if not waiting:
            return
        blockers = _mark_blocked(waiting, observer)
        for session in _in_circles(waiting, blockers):
            session.blocked = False
        if all(session.blocked for session in waiting):
            return


def _mark_blocked(sessions: Sequence[Session], observer: Observer) -> dict[int, set[int]]:
    if not sessions:
        return {}
    blockers = observer.blockers(sessions)
    for session in sessions:
        session.blocked = bool(blockers[session.pid])
        session.suspect = False
    return blockers


def _in_circles(sessions: Sequence[Session], blockers: dict[int, set[int]]) -> list[Session]:
    """Return the sessions that wait for themselves in the end: PostgreSQL is about to abort one of them."""

    def waits_for(pid: int, seen: set[int]) -> set[int]:
        for other in blockers.get(pid, set()) - seen:
            seen.add(other)
            waits_for(other, seen)
        return seen

    return [session for session in sessions if session.pid in waits_for(session.pid, set())]


def _read_ready(sessions: Sequence[Session]) -> None:
    poll = select.poll()
    for session in sessions:
        poll.register(session.socket, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(PATIENCE_SECONDS * 1000)}
    for session in sessions:
        if session.socket in ready:
            session.read()


def _field(result: PGresult, field: DiagnosticField) -> str | None:
    value = result.error_field(field)
    return None if value is None else value.decode()
