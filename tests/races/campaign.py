"""Which races are run, and what they came to together."""

import random
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations_with_replacement, product

from tests.races.catalogue import (
    BY_NAME,
    HOLD_QUEST,
    LEVELS,
    OPERATIONS,
    READ_COMMITTED,
    SERIALIZABLE,
    STATES,
    State,
)
from tests.races.explorer import Cell, Explorer, Race
from tests.races.sessions import Refusal
from tests.races.starts import ATTACHED, Start

SLICE_SEED = 6
# Per pair of operations: one race at READ COMMITTED, which is what the app runs at, and these at drawn levels.
SLICE_DRAWN = 4
SLICE_TRIPLES = 250
# The same from each other starting state.
OTHER_SLICE_DRAWN = 1


class Outcome(StrEnum):
    """What can become of an operation."""

    COMMITTED = "committed"
    SERIALIZATION = "40001"
    DEADLOCK = "40P01"
    OUR_KEY = "our key"
    OUR_CHECK = "our check"
    OUR_FOREIGN_KEY = "our foreign key"
    APP_KEY = "the app's own key"
    UNEXPECTED = "unexpected"


ALLOWED = frozenset(Outcome) - {Outcome.UNEXPECTED}
OURS = {"23505": Outcome.OUR_KEY, "23514": Outcome.OUR_CHECK, "23503": Outcome.OUR_FOREIGN_KEY}
RETRY = {"40001": Outcome.SERIALIZATION, "40P01": Outcome.DEADLOCK}


@dataclass(frozen=True, order=True)
class Finding:
    """One race worth looking at, and why."""

    cell: Cell
    order: tuple[int, ...]
    what: str
    start: str

    def __str__(self) -> str:
        sessions = [
            f"{operation} @ {level}" for operation, level in zip(self.cell.operations, self.cell.levels, strict=True)
        ]
        order = "".join(map(str, self.order))
        start = [] if self.start == ATTACHED.name else ["--start", self.start]
        command = shlex.join(["python", "-m", "tests.races", "replay", *start, self.cell.state, order, *sessions])
        return f"{self.what}: {command}"


@dataclass
class Tally:
    """What races came to, counted.

    Args:
        races: How many there were, by operations and levels.
        outcomes: How often an operation ended how, by operations, levels, the operation's place and the outcome.
        refusals: The same refusals by level and constraint.
        broken: Races in which an error was in the views after a commit.
        unexpected: Races in which something else happened than what may.
        timing: Races in which a foreign key of ours refused, at READ COMMITTED, what it would have let pass if the
            sessions had come one after the other, in whatever order.
        stale: How often that happened at the other levels, whose snapshot may be older than the lock.
    """

    races: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=Counter)
    outcomes: Counter[tuple[tuple[str, ...], tuple[str, ...], int, Outcome]] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[Finding] = field(default_factory=list)
    unexpected: list[Finding] = field(default_factory=list)
    timing: list[Finding] = field(default_factory=list)
    stale: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Count what another one counted."""
        self.races.update(other.races)
        self.outcomes.update(other.outcomes)
        self.refusals.update(other.refusals)
        self.broken += other.broken
        self.unexpected += other.unexpected
        self.timing += other.timing
        self.stale.update(other.stale)

    def by_level(self) -> Counter[tuple[str, Outcome]]:
        """Return how often operations at a level ended how."""
        counts: Counter[tuple[str, Outcome]] = Counter()
        for (_, levels, place, outcome), count in self.outcomes.items():
            counts[levels[place], outcome] += count
        return counts


class Judge:
    """Runs races on one explorer and counts what they come to.

    Args:
        explorer: Where to run them.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self._start: Start = explorer.start
        self.tally = Tally()
        rows = explorer.observer.connection.execute(
            """
            select own.conname, false
            from pg_catalog.pg_constraint as own
            where own.connamespace = 'public'::regnamespace
            union all
            select law.name, true
            from integrity.law
            """
        ).fetchall()
        self._ours = {str(name): bool(ours) for name, ours in rows}

    def outcome(self, refusal: Refusal | None) -> Outcome:
        """Say which kind of outcome it is: by SQLSTATE and constraint, never by the message."""
        if refusal is None:
            return Outcome.COMMITTED
        if refusal.constraint is None:
            return RETRY.get(refusal.sqlstate, Outcome.UNEXPECTED)
        ours = self._ours.get(refusal.constraint)
        if ours is None or refusal.sqlstate not in OURS:
            return Outcome.UNEXPECTED
        return OURS[refusal.sqlstate] if ours else Outcome.APP_KEY

    def count(self, cell: Cell, race: Race) -> None:
        """Count one race."""
        self.tally.races[cell.operations, cell.levels] += 1
        for place, refusal in enumerate(race.outcomes):
            outcome = self.outcome(refusal)
            self.tally.outcomes[cell.operations, cell.levels, place, outcome] += 1
            if refusal is None:
                continue
            self.tally.refusals[cell.levels[place], str(refusal)] += 1
            finding = Finding(cell, race.order, f"{cell.operations[place]} got {refusal}", self._start.name)
            if outcome is Outcome.UNEXPECTED:
                self.tally.unexpected.append(finding)
            # Only the whole mechanism spares the app such refusals.
            if (
                outcome is Outcome.OUR_FOREIGN_KEY
                and self._start is ATTACHED
                and self._only_timing(cell, place, refusal)
            ):
                if cell.levels[place] == READ_COMMITTED:
                    self.tally.timing.append(finding)
                else:
                    self.tally.stale[cell.levels[place]] += 1
        if race.broken:
            what = f"committed {', '.join(sorted(race.broken))}"
            self.tally.broken.append(Finding(cell, race.order, what, self._start.name))

    def every_ordering(self, cell: Cell) -> None:
        """Run and count every ordering of a cell."""
        for race in self.explorer.every_ordering(cell):
            self.count(cell, race)

    def some_ordering(self, cell: Cell, chance: random.Random) -> None:
        """Run and count one ordering of a cell."""
        self.count(cell, self.explorer.some_ordering(cell, chance))

    def _only_timing(self, cell: Cell, place: int, refusal: Refusal) -> bool:
        return all(race.outcomes[place] != refusal for race in self.explorer.serial_orderings(cell))


def pairs() -> list[tuple[str, str]]:
    """Return every pair of operations, an operation with itself included."""
    return list(combinations_with_replacement([operation.name for operation in OPERATIONS], 2))


def cells(states: Sequence[State] = STATES) -> Iterator[Cell]:
    """Yield every pair of operations from every one of the states at every two levels."""
    for pair in pairs():
        for levels in product(LEVELS, repeat=2):
            if pair[0] == pair[1] and levels != tuple(sorted(levels)):
                continue
            for state in states:
                yield Cell(state.name, pair, levels)


def drawn_triple(chance: random.Random, states: Sequence[State] = STATES) -> Cell:
    """Draw a cell of three sessions; in every other one the third holds the quest for a while."""
    names = [operation.name for operation in OPERATIONS]
    operations = [chance.choice(names), chance.choice(names), chance.choice([HOLD_QUEST.name, chance.choice(names)])]
    levels = [READ_COMMITTED] * 3 if chance.random() < 0.5 else [chance.choice(LEVELS) for _ in operations]
    return Cell(chance.choice(states).name, tuple(operations), tuple(levels))


def run_slice(explorer: Explorer, seed: int = SLICE_SEED) -> tuple[Tally, Tally]:
    """Run a small part of everything that a seed determines.

    Returns:
        The races of two sessions without SERIALIZABLE, which end the same way every time, and all others: what
        PostgreSQL's SERIALIZABLE refuses depends on the pages that rows happen to share, and of two sessions that
        one commit sets free either may come first.
    """
    stable, others = Judge(explorer), Judge(explorer)
    for number, pair in enumerate(pairs()):
        for draw in range(1 + SLICE_DRAWN):
            # Each race has its own source, so that one that ends differently does not change the next.
            chance = random.Random(f"{seed}/{number}/{draw}")
            levels = (chance.choice(LEVELS), chance.choice(LEVELS)) if draw else (READ_COMMITTED,) * 2
            judge = others if SERIALIZABLE in levels else stable
            judge.some_ordering(Cell(chance.choice(STATES).name, pair, levels), chance)
    for number in range(SLICE_TRIPLES):
        chance = random.Random(f"{seed}/triple/{number}")
        others.some_ordering(drawn_triple(chance), chance)
    explorer.sweep()
    return stable.tally, others.tally


def turned(cell: Cell, chance: random.Random) -> Cell:
    """Return the cell with its sessions in drawn order: the first may be another than the others."""
    places = chance.sample(range(len(cell.operations)), len(cell.operations))
    operations, levels = (tuple(values[place] for place in places) for values in (cell.operations, cell.levels))
    return Cell(cell.state, operations, levels)


def run_other_slice(explorer: Explorer, seed: int = SLICE_SEED) -> Tally:
    """Run a small part of everything from another starting state than an attached layer."""
    judge = Judge(explorer)
    for number, pair in enumerate(pairs()):
        for draw in range(1 + OTHER_SLICE_DRAWN):
            chance = random.Random(f"{seed}/{explorer.start.name}/{number}/{draw}")
            levels = (chance.choice(LEVELS), chance.choice(LEVELS)) if draw else (READ_COMMITTED,) * 2
            state = chance.choice(explorer.start.states)
            judge.some_ordering(turned(Cell(state.name, pair, levels), chance), chance)
    explorer.sweep()
    return judge.tally


def parse_cell(state: str, sessions: list[str]) -> Cell:
    """Return the cell of a state and sessions, each ``operation @ level``.

    Raises:
        ValueError: There is no such operation or level.
    """
    parts = [session.rpartition(" @ ") for session in sessions]
    for operation, _, level in parts:
        if operation not in BY_NAME or level not in LEVELS:
            raise ValueError(f"expected 'operation @ level', found {operation!r} @ {level!r}")
    return Cell(state, tuple(part[0] for part in parts), tuple(part[2] for part in parts))
