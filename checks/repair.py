"""Drive a repair: plan, run batch after batch, each in its own transaction, or all of it in one that is rolled back."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from checks.errors import UserError
from checks.violations import Scope

BATCH_ATTEMPTS = 10

OUTCOMES = """
select
  item.rule,
  count(*) filter (where item.outcome = 'repaired') as repaired,
  count(*) filter (where item.outcome = 'gone') as gone,
  count(*) filter (where item.outcome = 'refused') as refused,
  count(*) filter (where item.outcome is null) as pending
from integrity.repair_item as item
where item.run = %s
group by item.rule
order by min(item.number)
"""

CHANGES = """
select relation, row_key, before, after, rule
from integrity.repair_change
where run = %s
order by number
"""


@dataclass(frozen=True)
class Options:
    """What to repair and how; batch_size and limit count violations."""

    scope: Scope
    missing_participant: str = "create"
    batch_size: int = 500
    limit: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of the planned violations of one rule."""

    rule: str
    repaired: int
    gone: int
    refused: int
    pending: int


@dataclass(frozen=True)
class Change:
    """One row a repair changed; before is None for a new row, after None for a removed one."""

    relation: str
    row_key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    rule: str | None

    def columns(self) -> dict[str, tuple[Any, Any]]:
        """Return the changed columns with their value before and after; our markers are left out."""
        before, after = self.before or {}, self.after or {}
        names = [*before, *(name for name in after if name not in before)]
        return {
            name: (before.get(name), after.get(name))
            for name in names
            if before.get(name) != after.get(name) and not name.startswith("integrity_")
        }


@dataclass(frozen=True)
class Result:
    """A repair run: its id, what became of each rule's violations, and whether it was stopped early."""

    run: int
    outcomes: tuple[Outcome, ...]
    interrupted: bool


Show = Callable[[int, int], None]


def preview(connection: psycopg.Connection[Any], options: Options, show: Show) -> tuple[Result, list[Change]]:
    """Run the repair for real in a transaction that is rolled back.

    Args:
        connection: in autocommit mode.
        options: what to repair.
        show: told how many violations of how many are done.

    Returns:
        What the repair would do, and every row it would change, triggers' work included.
    """
    with connection.transaction(force_rollback=True):
        result = _run(connection, options, show)
        # Deferred constraints would speak at COMMIT only.
        connection.execute("set constraints all immediate")
        changes = list(_changes(connection, result.run))
    return result, changes


def apply(connection: psycopg.Connection[Any], options: Options, show: Show) -> Result:
    """Repair, committing after each batch; SIGINT lets the running batch finish, then stops.

    Args:
        connection: in autocommit mode.
        options: what to repair.
        show: told how many violations of how many are done.
    """
    return _run(connection, options, show)


def _run(connection: psycopg.Connection[Any], options: Options, show: Show) -> Result:
    settings = {"missing_participant": options.missing_participant}
    run = int(_value(connection, "select integrity.start_repair(%s, %s)", options.reason, Jsonb(settings)))
    done = planned = 0
    with _interrupts() as interrupted:
        while found := _plan(connection, run, options, planned):
            planned += found
            show(done, planned)
            while not interrupted() and (count := _batch(connection, run, options.batch_size)):
                done += count
                show(done, planned)
            if interrupted():
                break
        stopped = interrupted()
    with connection.cursor(row_factory=class_row(Outcome)) as cursor:
        outcomes = tuple(cursor.execute(OUTCOMES, [run]))
    return Result(run, outcomes, stopped)


def _plan(connection: psycopg.Connection[Any], run: int, options: Options, planned: int) -> int:
    """List what is to be repaired; after a round, what has appeared in its wake."""
    left = None if options.limit is None else options.limit - planned
    scope = options.scope
    plan = "select integrity.plan_repair(%s, %s, %s, %s, %s)"
    return int(_value(connection, plan, run, scope.rules, scope.user, scope.quest, left))


def _batch(connection: psycopg.Connection[Any], run: int, size: int) -> int:
    # Inside a preview's transaction a deadlock ends the whole; between batches it costs one of them.
    retrying = Retrying(
        retry=retry_if_exception_type((psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)),
        wait=wait_random(0, 0.2),
        stop=stop_after_attempt(1 if connection.info.transaction_status else BATCH_ATTEMPTS),
        reraise=True,
    )
    return int(retrying(_value, connection, "select integrity.repair_batch(%s, %s)", run, size))


def _changes(connection: psycopg.Connection[Any], run: int) -> Iterator[Change]:
    with connection.cursor(row_factory=class_row(Change)) as cursor:
        yield from cursor.execute(CHANGES, [run])


def _value(connection: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    if row is None:
        raise UserError(f"the database returned nothing for: {query}")
    return row[0]


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT into a flag: between batches nothing is half-done."""
    seen = False

    def remember(_signal: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen = True

    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, previous)
