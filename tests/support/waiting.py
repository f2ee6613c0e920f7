"""Waiting for another session's state, which is how a race is staged without sleeping for luck."""

import time
from typing import Any

import psycopg


def wait_until_blocked(observer: psycopg.Connection[Any], pid: int, seconds: float = 30) -> list[int]:
    """Wait until a session waits for a lock that others hold.

    Args:
        observer: A connection of a third session.
        pid: The waiting session's ``connection.info.backend_pid``.
        seconds: How long to wait for that.

    Returns:
        The pids it waits for.

    Raises:
        AssertionError: It ended, or does not wait in time; the message says what it does instead.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        row = observer.execute("SELECT pg_blocking_pids(%s)", [pid]).fetchone()
        if row is not None and row[0]:
            return list(row[0])
        time.sleep(0.005)
    # Within a transaction the view shows the moment it was first read.
    observer.execute("SELECT pg_stat_clear_snapshot()")
    row = observer.execute(
        "SELECT state, wait_event_type, wait_event, query FROM pg_stat_activity WHERE pid = %s", [pid]
    ).fetchone()
    raise AssertionError(f"session {pid} is not blocked after {seconds} s but: {row or 'gone'}")


def wait_until_alone(observer: psycopg.Connection[Any], seconds: float = 30) -> None:
    """Wait until no other session is in the database: one that was closed takes a moment to end.

    Args:
        observer: An autocommit connection to the database.
        seconds: How long to wait for that.

    Raises:
        AssertionError: Others stay; the message says what they do.
    """
    deadline = time.monotonic() + seconds
    while others := observer.execute(
        "SELECT pid, application_name, state, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    ).fetchall():
        assert time.monotonic() < deadline, f"after {seconds} s there still are {others}"
        time.sleep(0.005)


def wait_until_gone(observer: psycopg.Connection[Any], pid: int, seconds: float = 60) -> None:
    """Wait until a backend has ended, and let go of its locks.

    Args:
        observer: An autocommit connection.
        pid: The backend's.
        seconds: How long to wait for that.

    Raises:
        AssertionError: It lives on.
    """
    deadline = time.monotonic() + seconds
    while observer.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall():
        assert time.monotonic() < deadline, f"backend {pid} lives on"
        time.sleep(0.005)
