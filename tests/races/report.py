"""docs/races.md: written by ``make races``, read back by the tests."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.races.campaign import Outcome, Tally, pairs
from tests.races.catalogue import HOLD_QUEST, LEVELS, OPERATIONS, STATES
from tests.races.starts import OTHER_STARTS

PATH = Path(__file__).resolve().parents[2] / "docs" / "races.md"

COLUMNS = tuple(outcome for outcome in Outcome if outcome is not Outcome.UNEXPECTED)
CODES = {
    Outcome.SERIALIZATION: "S",
    Outcome.DEADLOCK: "D",
    Outcome.OUR_KEY: "K",
    Outcome.OUR_CHECK: "C",
    Outcome.OUR_FOREIGN_KEY: "F",
    Outcome.APP_KEY: "A",
}
MIXED = "mixed"

INTRODUCTION = """# Races

Written by `make races` (`tests/races/`); do not edit. It runs every pair of the {operations} operations below, in every
ordering of their steps that locks allow, from {states} states, at every two isolation levels. It also runs races of
three sessions drawn by the seed. After every commit the violation views must show no error that was not there before
the race.

PostgreSQL reports when a step is blocked (`log_lock_waits`, then `pg_blocking_pids`), so nothing depends on speed and
any race can be run again: `.venv/bin/python -m tests.races replay --help`.

Steps are statements and commits. At REPEATABLE READ and SERIALIZABLE the snapshot is a step of its own. Two orderings
are the same race when they differ only in the place of a read-only step between two ends of transactions.
"""

DEADLOCKS = """## Deadlocks

None of them commits anything broken. PostgreSQL aborts one session, which may retry. There are three causes:

1. An approval locks application, quest, participant. A participant who leaves or is dropped locks participant, quest,
   application. PostgreSQL locks a row before its triggers run, so no trigger can lock the quest first in both.
2. The app's approve and kick change an application, then others of the same quest: two of them deadlock without the
   layer as well.
3. A second approval of the same user waits in the unique key for the outcome of the first, while the session that ends
   the first waits for the quest. One of the two had to be refused.

Pairs with most deadlocks, of two sessions:
"""


OTHERS = "## From other starting states\n"
OTHERS_TEXT = """\
The same operations with `integrity.mechanism = off` in one session or in all of them, on a detached layer whose rule
views are there to judge, and with everything enforced that is law on request: one drawn ordering of every pair from
every state (enforced: from every state that can be) at every two levels, and drawn races of three sessions. Without the
mechanism nobody writes what has to follow, so the law alone decides, and refuses more.
"""


@dataclass(frozen=True)
class Facts:
    """What a report says that tests hold it to."""

    major: int
    races: int
    broken: int
    timing: int
    operations: tuple[str, ...]
    stable: dict[str, dict[str, int]]
    others: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Run:
    """A full run."""

    version: str
    seed: int
    jobs: int
    seconds: float
    pairs: Tally
    triples: Tally
    stable_slice: Tally
    others: Mapping[str, Tally]


def render(run: Run) -> str:
    """Return the report of a full run."""
    both = Tally()
    both.add(run.pairs)
    both.add(run.triples)
    parts = [
        INTRODUCTION.format(operations=len(OPERATIONS), states=len(STATES)),
        "## Last full run\n",
        _table(
            ("", ""),
            [
                ("PostgreSQL", run.version),
                ("seed", str(run.seed)),
                ("races", _number(both.races.total())),
                ("… of two sessions", _number(run.pairs.races.total())),
                ("… of three sessions", _number(run.triples.races.total())),
                ("duration", f"{run.seconds / 60:.0f} min in {run.jobs} processes"),
                ("broken commits", str(len(both.broken))),
                ("unexpected outcomes", str(len(both.unexpected))),
                ("refusals by a foreign key of ours for timing alone, at READ COMMITTED", str(len(both.timing))),
                *((f"… at {level.upper()}", _number(both.stale[level])) for level in LEVELS[1:]),
            ],
        ),
        "## What became of the operations\n",
        "By the level of the operation's own transaction. 40001 and 40P01 mean: retry. At REPEATABLE READ or "
        "SERIALIZABLE, a session whose snapshot is older than a second participant derives the quest without them. "
        "When the quest row was locked but not written, PostgreSQL sees no conflict, so the law refuses the commit "
        "with 23503 instead of 40001. Retry then, too.\n",
        _outcomes(both),
        "## Refusals by constraint\n",
        _refusals(both),
        DEADLOCKS,
        _deadlocks(run.pairs),
        _others(run.others),
        "## The slice that every test run repeats\n",
        "Two sessions without SERIALIZABLE: these end the same way every time, and a test compares.\n",
        _outcomes(run.stable_slice),
        "## Every pair\n",
        "Races, then refused operations: "
        + ", ".join(f"{code} {outcome}" for outcome, code in CODES.items())
        + ". Mixed: two different levels.\n",
        _matrix(run.pairs),
        "## The operations\n",
        *(f"### {operation.name}\n\n{_steps(operation.steps)}" for operation in (*OPERATIONS, HOLD_QUEST)),
    ]
    return "\n".join(parts)


def read(text: str) -> Facts:
    """Return what a report says.

    Raises:
        AssertionError: It is no such report.
    """

    def fact(name: str) -> str:
        found = re.search(rf"^\| {re.escape(name)} \| (.*?) \|$", text, re.MULTILINE)
        assert found, f"the report has no row {name!r}"
        return found[1]

    def table(heading: str) -> dict[str, dict[str, int]]:
        _, _, rest = text.partition(heading)
        lines = [line.strip("|").split("|") for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
        header, _, *rows = [[cell.strip() for cell in line] for line in lines]
        return {row[0]: dict(zip(header[1:], map(_integer, row[1:]), strict=True)) for row in rows}

    return Facts(
        major=int(fact("PostgreSQL").split(".")[0]),
        races=int(fact("races").replace(",", "")),
        broken=int(fact("broken commits")),
        timing=int(fact("refusals by a foreign key of ours for timing alone, at READ COMMITTED")),
        operations=tuple(re.findall(r"^### (.*)$", text, re.MULTILINE)),
        stable=table("## The slice that every test run repeats\n"),
        others=table(OTHERS),
    )


def with_others(text: str, tallies: Mapping[str, Tally]) -> str:
    """Return a report with the races from other starting states replaced.

    Args:
        text: The report.
        tallies: What those races came to, by the name of the starting state.
    """
    before, _, rest = text.partition(OTHERS)
    _, _, after = rest.partition("\n## ")
    return f"{before}{_others(tallies)}\n## {after}"


def stable_counts(tally: Tally) -> dict[str, dict[str, int]]:
    """Return the counts of the stable slice in the form in which ``read`` finds them."""
    counts = tally.by_level()
    levels = [level for level in LEVELS if any(counts[level, outcome] for outcome in COLUMNS)]
    return {level: {str(outcome): counts[level, outcome] for outcome in COLUMNS} for level in levels}


def _outcomes(tally: Tally) -> str:
    rows = [(level, *(_number(count) for count in counts.values())) for level, counts in stable_counts(tally).items()]
    return _table(("level", *map(str, COLUMNS)), rows)


def _others(tallies: Mapping[str, Tally]) -> str:
    rows = []
    for start in OTHER_STARTS:
        tally = tallies[start.name]
        outcomes: Counter[Outcome] = Counter()
        for (_, outcome), count in tally.by_level().items():
            outcomes[outcome] += count
        counts = (tally.races.total(), len(tally.broken), len(tally.unexpected), *(outcomes[item] for item in COLUMNS))
        rows.append((start.name, *map(_number, counts)))
    header = ("starting state", "races", "broken commits", "unexpected outcomes", *map(str, COLUMNS))
    return f"{OTHERS}\n{OTHERS_TEXT}\n{_table(header, rows)}"


def _refusals(tally: Tally) -> str:
    names = sorted({name for _, name in tally.refusals})
    rows = [(f"`{name}`", *(_number(tally.refusals[level, name]) for level in LEVELS)) for name in names]
    return _table(("", *LEVELS), rows)


def _deadlocks(tally: Tally) -> str:
    counts: Counter[tuple[str, ...]] = Counter()
    races: Counter[tuple[str, ...]] = Counter()
    for (operations, _, _, outcome), count in tally.outcomes.items():
        if outcome is Outcome.DEADLOCK:
            counts[operations] += count
    for (operations, _), count in tally.races.items():
        races[operations] += count
    rows = [
        (*operations, _number(count), _number(races[operations]))
        for operations, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]
    ]
    return _table(("", "", "deadlocks", "races"), rows)


def _matrix(tally: Tally) -> str:
    columns = (*LEVELS, MIXED)
    races: Counter[tuple[tuple[str, ...], str]] = Counter()
    outcomes: Counter[tuple[tuple[str, ...], str, Outcome]] = Counter()
    for (operations, levels), count in tally.races.items():
        races[operations, _column(levels)] += count
    for (operations, levels, _, outcome), count in tally.outcomes.items():
        outcomes[operations, _column(levels), outcome] += count

    def cell(pair: tuple[str, str], column: str) -> str:
        refused = [
            f"{code}{outcomes[pair, column, outcome]}"
            for outcome, code in CODES.items()
            if outcomes[pair, column, outcome]
        ]
        return " ".join([str(races[pair, column]), *refused])

    return _table(("", "", *columns), [(*pair, *(cell(pair, column) for column in columns)) for pair in pairs()])


def _column(levels: tuple[str, ...]) -> str:
    return levels[0] if len(set(levels)) == 1 else MIXED


def _steps(steps: tuple[str, ...]) -> str:
    return "```sql\n" + ";\n".join(step.strip() for step in steps) + "\n```\n"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _number(count: int) -> str:
    return f"{count:,}"


def _integer(text: str) -> int:
    return int(text.replace(",", ""))
