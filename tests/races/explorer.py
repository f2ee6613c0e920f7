"""Runs races: the operations of a cell step by step, in one ordering after another, judging what was committed."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, permutations
from types import TracebackType
from typing import Self

from tests.races.catalogue import (
    BROKEN_STATES,
    BY_NAME,
    COMMIT,
    READ_COMMITTED,
    STATE_BY_NAME,
    Operation,
    Rows,
    insert_rows,
    insert_users,
)
from tests.races.sessions import SETTINGS, Observer, Refusal, Session, settle
from tests.races.starts import ATTACHED, Start, detach, enforce_everything

# Races between two sweeps: enough to make a sweep cheap, few enough to keep the tables small.
SWEEP_EVERY = 250
# The event log refuses to be emptied, partition by partition, and would grow with every race.
PREPARE = """
create or replace function integrity.refuse_event_change()
returns trigger
language plpgsql
as $$ begin return null; end $$;
truncate public.users_user, public.quests_questcategory, public.quests_quest, public.applications_application,
  integrity.event, integrity.repair_run cascade
"""
EMPTY = """
truncate public.quests_quest, public.applications_application, public.quests_questparticipant, integrity.event,
  integrity.repair_run cascade
"""

Choose = Callable[[tuple[int, ...]], int]


@dataclass(frozen=True, order=True)
class Cell:
    """What is raced: in which state, and the operation and the level of every session."""

    state: str
    operations: tuple[str, ...]
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Race:
    """What one ordering of a cell's steps came to.

    Args:
        order: The session that made each step, in the order in which they were made.
        outcomes: What refused each session's operation; None when all of it was committed.
        broken: The errors that were in the views after some commit and not before the race.
    """

    order: tuple[int, ...]
    outcomes: tuple[Refusal | None, ...]
    broken: frozenset[str]

    @property
    def serial(self) -> bool:
        """Whether no session was overtaken by another."""
        turns = [session for session, _ in groupby(self.order)]
        return len(turns) == len(set(turns))


@dataclass
class _Step:
    statements: str
    # It only reads, so that the order of such steps between two commits makes no difference.
    loads: bool
    commits: bool


@dataclass
class _Runner:
    """One session's progress through its operation."""

    session: Session
    steps: list[_Step]
    done: int = 0
    refusal: Refusal | None = None
    running: bool = False

    @property
    def finished(self) -> bool:
        return self.refusal is not None or self.done == len(self.steps)

    @property
    def next(self) -> _Step:
        return self.steps[self.done]


class Explorer:
    """Races on one migrated database, which it has to itself.

    Args:
        conninfo: The database; the connections are made as a superuser.
        start: How the layer is in every race; the database is made so.
        sessions: How many sessions a race may have.
    """

    def __init__(self, conninfo: str, start: Start = ATTACHED, sessions: int = 3) -> None:
        self._conninfo = conninfo
        self.start = start
        self._count = sessions
        self._open = ExitStack()
        self._number = 0
        self._left: set[str] = set()
        self._serial: dict[Cell, list[Race]] = {}

    def __enter__(self) -> Self:
        if self.start.detached:
            detach(self._conninfo)
        if self.start.enforced:
            enforce_everything(self._conninfo)
        with ExitStack() as opened:
            self.observer = opened.enter_context(closing(Observer(self._conninfo)))
            self.sessions = [opened.enter_context(closing(Session(self._conninfo))) for _ in range(self._count)]
            self.observer.watch(self.sessions)
            self.observer.connection.execute(PREPARE)
            self.observer.connection.execute(insert_users())
            for session in self.sessions:
                session.run(SETTINGS)
            for session in self.sessions[: self.start.off]:
                session.run("set integrity.mechanism = off")
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def every_ordering(self, cell: Cell) -> Iterator[Race]:
        """Run the cell once for every ordering of its steps that its locks allow."""
        path: list[tuple[tuple[int, ...], int]] = []
        while True:
            yield self._run(cell, _Path(path).choose)
            while path and path[-1][1] + 1 == len(path[-1][0]):
                path.pop()
            if not path:
                return
            options, taken = path[-1]
            path[-1] = (options, taken + 1)

    def some_ordering(self, cell: Cell, chance: random.Random) -> Race:
        """Run the cell once, drawing who makes the next step."""
        return self._run(cell, chance.choice)

    def serial_orderings(self, cell: Cell) -> list[Race]:
        """Run the cell's operations one after the other, in every order; remembered, for it is asked often."""
        if cell not in self._serial:
            self._serial[cell] = [
                self._run(cell, partial(min, key=order.index)) for order in permutations(range(len(cell.operations)))
            ]
        return self._serial[cell]

    def replay(self, cell: Cell, order: Sequence[int]) -> Race:
        """Run one ordering, as far as locks allow; what it does not mention comes last, session by session."""
        turns = deque(order)

        def choose(options: tuple[int, ...]) -> int:
            while turns and turns[0] not in options:
                turns.popleft()
            return turns.popleft() if turns else options[0]

        return self._run(cell, choose)

    def sweep(self) -> None:
        """Compare all violations of the database with what the races saw of theirs, and empty it.

        Raises:
            AssertionError: There are errors that no race saw.
        """
        unseen = self.observer.all_errors() ^ self._left
        assert not unseen, f"the violations of the whole database differ from those of the races: {unseen}"
        self.observer.connection.execute(EMPTY)
        self._left.clear()

    def _run(self, cell: Cell, choose: Choose) -> Race:
        operations = [BY_NAME[name] for name in cell.operations]
        # What looks at whole tables must find no errors that an earlier race started from.
        if self._number % SWEEP_EVERY == 0 or (self._left and any(operation.setup for operation in operations)):
            self.sweep()
        self._number += 1
        rows = Rows.numbered(self._number)
        self.observer.connection.execute(insert_rows(STATE_BY_NAME[cell.state], rows))
        for statements in {operation.setup for operation in operations if operation.setup}:
            self.observer.connection.execute(statements)
        quests = [rows.q, rows.q2]
        before = self.observer.errors(quests) if cell.state in BROKEN_STATES else frozenset()
        runners = [
            _Runner(session, _script(operation, level, rows))
            for session, operation, level in zip(self.sessions, operations, cell.levels, strict=False)
        ]
        order: list[int] = []
        broken: set[str] = set()
        turn = _Turn(runners)
        after = before
        while options := turn.options():
            chosen = choose(options)
            order.append(chosen)
            turn.take(chosen)
            if self._advance(runners):
                turn.ended()
                after = self.observer.errors(quests)
                broken |= after - before
        assert all(runner.finished for runner in runners), f"nobody can make a step: {cell}, {order}"
        self._left |= after
        return Race(tuple(order), tuple(runner.refusal for runner in runners), frozenset(broken))

    def _advance(self, runners: list[_Runner]) -> bool:
        """Wait until the steps in progress have come as far as they can; say whether a transaction ended."""
        ended = False
        while True:
            settle([runner.session for runner in runners], self.observer)
            freed = False
            for runner in runners:
                if not runner.running or runner.session.busy:
                    continue
                runner.running = False
                runner.refusal = runner.session.refusal
                if runner.refusal is None:
                    ended |= runner.next.commits
                    runner.done += 1
                    continue
                ended = freed = True
                if not runner.next.commits:
                    runner.session.run("rollback")
            if not freed:
                return ended


@dataclass
class _Turn:
    """Who may make the next step.

    Steps that only read see the commits before them and nothing else: where such steps could be made anywhere
    between two ends of transactions, they are made right after the first and in one order.
    """

    runners: list[_Runner]
    _fresh: bool = True
    _last_load: int = -1

    def options(self) -> tuple[int, ...]:
        free = [number for number, runner in enumerate(self.runners) if not runner.finished and not runner.running]
        return tuple(
            number
            for number in free
            if not self.runners[number].next.loads or (self._fresh and number > self._last_load)
        ) or tuple(free)

    def take(self, number: int) -> None:
        runner = self.runners[number]
        step = runner.next
        self._fresh = self._fresh and step.loads
        self._last_load = number if step.loads else -1
        runner.running = True
        runner.session.send(step.statements)

    def ended(self) -> None:
        self._fresh = True
        self._last_load = -1


@dataclass
class _Path:
    """Follows the choices of a path and extends it where it ends, which is how every ordering is met once."""

    path: list[tuple[tuple[int, ...], int]]
    _depth: int = field(default=0)

    def choose(self, options: tuple[int, ...]) -> int:
        if self._depth == len(self.path):
            self.path.append((options, 0))
        known, taken = self.path[self._depth]
        assert known == options, f"the same choices led to {options} now and to {known} before"
        self._depth += 1
        return options[taken]


def _script(operation: Operation, level: str, rows: Rows) -> list[_Step]:
    names = rows.names()
    steps: list[_Step] = []
    begin = f"begin isolation level {level};"
    fresh = True
    for number, statements in enumerate((*operation.steps, COMMIT)):
        commits = statements == COMMIT
        loads = operation.loads and number == 0
        if fresh and level != READ_COMMITTED and not loads:
            # These levels see the database as it was at their first statement, whatever that was.
            steps.append(_Step(begin + "select 1", loads=True, commits=False))
            fresh = False
        text = COMMIT if commits else statements.format(**names)
        steps.append(_Step(begin + text if fresh else text, loads, commits))
        fresh = commits
    return steps
