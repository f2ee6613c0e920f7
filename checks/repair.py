"""Drive repairs and undos: batch after batch, each in its own transaction, or all of it in one that is rolled back."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from tempfile import TemporaryFile
from types import FrameType
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from checks import query
from checks.errors import UserError
from checks.violations import Scope

BATCH_ATTEMPTS = 10
# Each holds two whole rows.
FETCH_CHANGES = 200

OUTCOMES = """
select
  item.rule,
  coalesce(item.outcome, 'to do') as outcome,
  count(*) as items,
  string_agg(distinct item.detail, ', ') filter (where item.outcome = 'refused') as refused_by
from integrity.repair_item as item
where item.run = %s
group by
  item.rule,
  item.outcome
order by
  min(item.number)
"""

RUNS = """
select
  run.id,
  run.kind,
  run.started_at,
  run.finished_at,
  run.actor,
  run.reason,
  run.undoes,
  (select count(*) from integrity.repair_change as change where change.run = run.id) as changed_rows,
  (select count(*) from integrity.repair_item as item where item.run = run.id and item.outcome is null) as to_do
from integrity.repair_run as run
order by run.id
"""

CHANGES = """
select relation, row_key, before, after, rules, quest_id
from integrity.repair_effect
where run = %(run)s
order by
  case when %(by_quest)s then quest_id end,
  number
"""

LEFT = """
select quest_id, outcome, case rule when 'undo' then '' else key end as key, detail
from integrity.repair_item
where
  run = %s
  and outcome in ('refused', 'undecided', 'partly undone', 'changed since')
order by number
"""


@dataclass(frozen=True)
class Options:
    """What to repair and how; batch_size and limit count violations.

    Without missing_participant, create or revoke, what `checks.undecided` counts is left; without unapproved, approve
    or drop, participants without an approval.
    """

    scope: Scope
    missing_participant: str | None = None
    batch_size: int = 500
    limit: int | None = None
    reason: str | None = None
    unapproved: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How many items of one rule (or of an undo) ended in one way, and the constraints that refused, if any did."""

    rule: str
    outcome: str
    items: int
    refused_by: str | None


@dataclass(frozen=True)
class Run:
    """A repair or undo that was started; to_do counts what it has left undone."""

    id: int
    kind: str
    started_at: datetime
    finished_at: datetime | None
    actor: str
    reason: str | None
    undoes: int | None
    changed_rows: int
    to_do: int


@dataclass(frozen=True)
class Change:
    """One row a repair changed in the end; before is None for a new row, after None for a removed one."""

    relation: str
    row_key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    rules: list[str]
    quest_id: int | None = None

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
class Left:
    """What a run left as it is: refused by a constraint (the detail), or rows (the detail) not as they were."""

    quest_id: int
    outcome: str
    key: str
    detail: str | None


@dataclass(frozen=True)
class Result:
    """A run: its id, what became of its items, what it left, and whether SIGINT stopped it early."""

    run: int
    outcomes: tuple[Outcome, ...]
    left: tuple[Left, ...]
    interrupted: bool

    def items(self, *outcomes: str) -> int:
        """Return how many items ended in one of these ways, or how many there are at all."""
        return sum(each.items for each in self.outcomes if not outcomes or each.outcome in outcomes)


Show = Callable[[int, int], None]


@contextmanager
def preview(
    connection: psycopg.Connection[Any], options: Options, show: Show, *, by_quest: bool = False
) -> Iterator[tuple[Result, Iterator[Change]]]:
    """Run the repair for real in a transaction that is rolled back.

    Args:
        connection: in autocommit mode.
        options: what to repair.
        show: told how many violations of how many are done.
        by_quest: whether the rows of a quest are to follow each other.

    Yields:
        What the repair would do, and every row it would change, triggers' work included: from a temporary file, since
        they may be many and nobody is to wait for a reader while rows are locked.
    """
    with TemporaryFile("w+", encoding="utf-8") as kept:
        with connection.transaction(force_rollback=True):
            result = apply(connection, options, show)
            found = changes(connection, result.run, by_quest=by_quest)
            kept.writelines(json.dumps(asdict(change)) + "\n" for change in found)
        kept.seek(0)
        yield result, (Change(**json.loads(line)) for line in kept)


def rehearse(connection: psycopg.Connection[Any], key: str, options: Options) -> tuple[Result, list[Change]]:
    """Repair one violation in a transaction that is rolled back.

    Args:
        connection: in autocommit mode.
        key: of the violation.
        options: how.

    Returns:
        What the repair would do, and every row it would change.
    """
    with connection.transaction(force_rollback=True):
        connection.execute("set local lock_timeout = '1s'")
        run = start(connection, options)
        connection.execute("select integrity.plan_violation(%s, %s)", [run, key])
        while query.value(connection, "select integrity.repair_batch(%s, 1)", [run]):
            pass
        return _result(connection, run, False), list(changes(connection, run))


def start(connection: psycopg.Connection[Any], options: Options) -> int:
    """Start a run and return its number."""
    answers = {"missing_participant": options.missing_participant, "unapproved": options.unapproved}
    settings = {name: answer for name, answer in answers.items() if answer}
    return int(query.value(connection, "select integrity.start_repair(%s, %s)", [options.reason, Jsonb(settings)]))


def apply(connection: psycopg.Connection[Any], options: Options, show: Show) -> Result:
    """Repair, committing after each batch; SIGINT lets the running batch finish, then stops.

    Args:
        connection: in autocommit mode.
        options: what to repair.
        show: told how many violations of how many are done.
    """
    run = start(connection, options)
    batch = "select integrity.repair_batch(%s, %s)"
    done = planned = 0
    found = -1
    with _interrupts() as interrupted:
        # What is left to plan after a round has appeared in its wake; a round without any ends the run.
        while found and not interrupted():
            found = plan(connection, run, options, planned)
            planned += found
            done = _drive(connection, batch, run, options.batch_size, (done, planned), show, interrupted)
        return _result(connection, run, interrupted())


def undo(connection: psycopg.Connection[Any], run: int, reason: str | None, batch_size: int, show: Show) -> Result:
    """Undo a run quest by quest, committing after each batch; SIGINT lets the running batch finish, then stops.

    Args:
        connection: in autocommit mode.
        run: the run to take back.
        reason: why; kept with the new run.
        batch_size: quests per transaction.
        show: told how many quests of how many are done.

    Raises:
        UserError: there is no such run.
    """
    if not query.value(connection, "select exists (select from integrity.repair_run where id = %s)", [run]):
        raise UserError(f"there is no repair run {run}: `quest-integrity repairs` lists the runs")
    new_run = int(query.value(connection, "select integrity.start_undo(%s, %s)", [run, reason]))
    planned = int(query.value(connection, "select count(*) from integrity.repair_item where run = %s", [new_run]))
    batch = "select integrity.undo_batch(%s, %s)"
    with _interrupts() as interrupted:
        _drive(connection, batch, new_run, batch_size, (0, planned), show, interrupted)
        return _result(connection, new_run, interrupted())


def runs(connection: psycopg.Connection[Any]) -> list[Run]:
    """Return the repairs and undos of this database, oldest first."""
    return query.rows(connection, Run, RUNS)


def changes(connection: psycopg.Connection[Any], run: int, *, by_quest: bool = False) -> Iterator[Change]:
    """Yield every row a run changed, in bounded memory and in a transaction that ends with the last one.

    Args:
        connection: outside a transaction or inside one.
        run: the repair or undo.
        by_quest: whether the rows of a quest are to follow each other; else they come as they were changed.
    """
    with connection.transaction(), connection.cursor("changes", row_factory=class_row(Change)) as cursor:
        cursor.itersize = FETCH_CHANGES
        yield from cursor.execute(CHANGES, {"run": run, "by_quest": by_quest})


def _result(connection: psycopg.Connection[Any], run: int, interrupted: bool) -> Result:
    outcomes = query.rows(connection, Outcome, OUTCOMES, [run])
    return Result(run, tuple(outcomes), tuple(query.rows(connection, Left, LEFT, [run])), interrupted)


def _drive(
    connection: psycopg.Connection[Any],
    batch: str,
    run: int,
    size: int,
    progress: tuple[int, int],
    show: Show,
    interrupted: Callable[[], bool],
) -> int:
    """Call a batch function until it has nothing left to do; return how many items are done."""
    # Here, because an audit that repairs nothing does not need it.
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

    done, planned = progress
    show(done, planned)
    # Inside a preview's transaction a deadlock ends the whole; between batches it costs one of them.
    retrying = Retrying(
        retry=retry_if_exception_type((psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)),
        wait=wait_random(0, 0.2),
        stop=stop_after_attempt(1 if connection.info.transaction_status else BATCH_ATTEMPTS),
        reraise=True,
    )
    while not interrupted() and (count := int(retrying(query.value, connection, batch, [run, size]))):
        done += count
        show(done, planned)
    return done


def plan(connection: psycopg.Connection[Any], run: int, options: Options, planned: int) -> int:
    """List what is to be repaired; after a round, what has appeared in its wake."""
    left = None if options.limit is None else options.limit - planned
    scope = options.scope
    plan = "select integrity.plan_repair(%s, %s, %s, %s, %s)"
    return int(query.value(connection, plan, [run, scope.rules, scope.user, scope.quest, left]))


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT into a flag: between batches nothing is half-done. The second has its usual effect."""
    seen = False

    def remember(_signal: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen = True
        signal.signal(signal.SIGINT, previous)
        # Not print, which may be in the middle of something.
        os.write(2, b"stopping after this batch; interrupt again to stop at once\n")

    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, previous)
