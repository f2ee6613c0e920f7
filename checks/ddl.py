"""Run DDL on tables in use: short waits for locks, tried again, never queueing clients for long.

Tenacity is imported where something may be tried again, which most commands never do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors

from checks import citus, render

if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying

MAX_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class LockPolicy:
    """How long one attempt waits for a lock, in seconds, and how many attempts there are."""

    timeout: float = 2.0
    retries: int = 30


USUAL = LockPolicy()


def say_statements(what: str, statements: Sequence[str]) -> None:
    """Print statements for somebody to copy to stderr, each whole, after a line that says what they are."""
    render.say(what)
    for statement in statements:
        print(statement, file=sys.stderr, flush=True)


def retrying(policy: LockPolicy, what: str) -> Retrying:
    """Return tenacity's retrying for lock timeouts and deadlocks, with jittered pauses between attempts.

    Args:
        policy: how often to try.
        what: what is being tried, for the line printed before each pause.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

    def tell(state: RetryCallState) -> None:
        waited = f"the lock was not free within {policy.timeout:g} s, attempt {state.attempt_number}"
        render.say(f"{what}: {waited}; trying again")

    return Retrying(
        retry=retry_if_exception_type((errors.LockNotAvailable, errors.DeadlockDetected)),
        wait=wait_random(policy.timeout / 4, min(policy.timeout, MAX_PAUSE_SECONDS)),
        stop=stop_after_attempt(policy.retries),
        before_sleep=tell,
        reraise=True,
    )


def run(connection: psycopg.Connection[Any], statement: str, policy: LockPolicy) -> None:
    """Run a statement, or several together, in a transaction of their own under the policy's lock_timeout, retrying.

    Args:
        connection: in autocommit mode.
        statement: DDL; if one alone, also a CALL that commits by itself.
        policy: timeout and retries.

    Raises:
        psycopg.errors.LockNotAvailable: the lock was not free in any attempt.
    """
    connection.execute(f"set lock_timeout = '{policy.timeout:g}s'")
    retrying(policy, statement.partition("\n")[0])(citus.execute, connection, statement)


def in_transaction(
    connection: psycopg.Connection[Any], lock: str, policy: LockPolicy, work: Callable[[], None]
) -> None:
    """Take locks in a savepoint, retrying, then do the work; the caller's transaction goes on.

    Nothing is held while it pauses: rolling back to the savepoint lets go of the lock.

    Args:
        connection: inside a transaction that holds no lock on an app table yet.
        lock: LOCK TABLE, one or more statements.
        policy: timeout and retries.
        work: what to do under the lock.
    """
    connection.execute(f"set local lock_timeout = '{policy.timeout:g}s'")

    def attempt() -> None:
        with connection.transaction():
            citus.execute(connection, lock)

    retrying(policy, lock.replace("\n", " "))(attempt)
    work()
