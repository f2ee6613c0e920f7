"""Races of two and three sessions: nothing broken is ever committed, and the search finds it when it is."""

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.races import report
from tests.races.campaign import Judge, Outcome, Tally, run_other_slice, run_slice
from tests.races.catalogue import (
    BROKEN_STATES,
    HOLD_QUEST,
    MECHANISM_OFF,
    OPERATIONS,
    READ_COMMITTED,
    REPEATABLE_READ,
    STATES,
    Operation,
    Rows,
    insert_rows,
)
from tests.races.explorer import Cell, Explorer
from tests.races.sessions import Refusal
from tests.races.starts import OTHER_STARTS, Start
from tests.races.weakened import drop_foreign_keys, weaken
from tests.support.database import url_of

READ_COMMITTED_BOTH = (READ_COMMITTED, READ_COMMITTED)
# The assignee leaves while somebody else joins or is approved: where a saved lock of the quest is missed.
TELLING = tuple(
    Cell("taken", (leaving, joining), READ_COMMITTED_BOTH)
    for leaving in ("leave", "drop", "reject")
    for joining in ("join", "approve other")
)


@pytest.fixture
def explorer(migrated: psycopg.Connection[Any]) -> Iterator[Explorer]:
    with Explorer(url_of(migrated)) as explorer:
        yield explorer


@pytest.fixture
def judge(explorer: Explorer) -> Judge:
    return Judge(explorer)


def test_slice_of_all_races(explorer: Explorer) -> None:
    stable, others = run_slice(explorer)
    for tally in (stable, others):
        assert not tally.broken, _listed(tally.broken)
        assert not tally.unexpected, _listed(tally.unexpected)
        assert not tally.timing, _listed(tally.timing)
    assert stable.races.total() + others.races.total() >= 1500
    # Each of these must have been met, or the races would not be races.
    met = {outcome for tally in (stable, others) for _, outcome in tally.by_level()}
    assert {Outcome.COMMITTED, Outcome.SERIALIZATION, Outcome.DEADLOCK, Outcome.OUR_KEY} <= met
    facts = report.read(report.PATH.read_text())
    if explorer.observer.connection.info.server_version // 10000 == facts.major:
        assert report.stable_counts(stable) == facts.stable, "run `make races` and look at what it changed"


@pytest.mark.parametrize("start", OTHER_STARTS, ids=lambda start: start.name)
def test_slice_from_other_starts(start: Start, migrated: psycopg.Connection[Any]) -> None:
    with Explorer(url_of(migrated), start) as explorer:
        tally = run_other_slice(explorer)
    assert not tally.broken, _listed(tally.broken)
    assert not tally.unexpected, _listed(tally.unexpected)
    # What needs the mechanism is refused: where it would break a pair at commit, detached by the CHECK of a marker too.
    law = {Outcome.OUR_FOREIGN_KEY} | ({Outcome.OUR_CHECK} if start.detached else set())
    assert {Outcome.COMMITTED, *law} <= {outcome for _, outcome in tally.by_level()}


@pytest.mark.parametrize("off", MECHANISM_OFF, ids=lambda operation: operation.name)
def test_session_without_the_mechanism_commits_nothing_broken(off: Operation, judge: Judge) -> None:
    """Whoever it meets: the law decides about what it writes, and about what others write meanwhile."""
    for number, other in enumerate((*OPERATIONS, *MECHANISM_OFF)):
        for state in STATES:
            chance = random.Random(f"{off.name}/{number}/{state.name}")
            for level in (READ_COMMITTED, REPEATABLE_READ):
                judge.some_ordering(Cell(state.name, (off.name, other.name), (level, level)), chance)
    judge.explorer.sweep()
    assert not judge.tally.broken, _listed(judge.tally.broken)
    assert not judge.tally.unexpected, _listed(judge.tally.unexpected)
    outcomes = {outcome for _, outcome in judge.tally.by_level()}
    assert {Outcome.COMMITTED, Outcome.OUR_FOREIGN_KEY} <= outcomes


def test_report_is_of_a_full_run() -> None:
    facts = report.read(report.PATH.read_text())
    assert facts.operations == tuple(operation.name for operation in (*OPERATIONS, HOLD_QUEST))
    assert facts.races >= 20_000
    assert (facts.broken, facts.timing) == (0, 0)
    assert list(facts.others) == [start.name for start in OTHER_STARTS]
    for counts in facts.others.values():
        # Half as many states can be enforced.
        assert counts["races"] >= 10_000
        assert (counts["broken commits"], counts["unexpected outcomes"]) == (0, 0)


def test_weakened_mechanism_commits_what_is_broken(migrated: psycopg.Connection[Any], judge: Judge) -> None:
    weaken(migrated)
    drop_foreign_keys(migrated)
    migrated.commit()
    tally = _run_all(judge)
    assert {finding.cell for finding in tally.broken} == set(TELLING)


def test_foreign_keys_hold_under_the_weakened_mechanism(migrated: psycopg.Connection[Any], judge: Judge) -> None:
    weaken(migrated)
    migrated.commit()
    tally = _run_all(judge)
    assert not tally.broken, _listed(tally.broken)
    assert not tally.unexpected, _listed(tally.unexpected)
    # In the place of every broken commit there is a refusal that the mechanism as it is would have spared the app.
    assert {finding.cell for finding in tally.timing} == set(TELLING)


def test_mechanism_as_it_is_spares_the_app_the_refusals(judge: Judge) -> None:
    tally = _run_all(judge)
    assert {outcome for _, outcome in tally.by_level()} == {Outcome.COMMITTED}


def test_every_ordering_is_met_once(explorer: Explorer) -> None:
    # Nobody waits for anybody here, so all six orderings of two statements and two commits are possible.
    cell = Cell("open", ("move application", "validate"), READ_COMMITTED_BOTH)
    orders = [race.order for race in explorer.every_ordering(cell)]
    assert sorted(orders) == [
        (0, 0, 1, 1),
        (0, 1, 0, 1),
        (0, 1, 1, 0),
        (1, 0, 0, 1),
        (1, 0, 1, 0),
        (1, 1, 0, 0),
    ]


def test_session_that_waits_is_overtaken_by_nothing_of_its_own(explorer: Explorer) -> None:
    cell = Cell("open", ("approve", "reject"), READ_COMMITTED_BOTH)
    races = list(explorer.every_ordering(cell))
    # Whoever comes second waits for the same row, so it can only end after the first.
    assert sorted(race.order for race in races) == [(0, 0, 1, 1), (0, 1, 0, 1), (1, 0, 1, 0), (1, 1, 0, 0)]
    assert [race.serial for race in sorted(races, key=lambda race: race.order)] == [True, False, False, True]


def test_deadlock_within_statements_needs_a_third_session(explorer: Explorer) -> None:
    # Leaving locks participant, quest, application; rejecting application, quest, participant.
    pair = Cell("taken", ("reject", "leave"), READ_COMMITTED_BOTH)
    assert all(race.outcomes == (None, None) for race in explorer.every_ordering(pair))
    cell = Cell("taken", (*pair.operations, HOLD_QUEST.name), (READ_COMMITTED,) * 3)
    race = explorer.replay(cell, (2, 0, 1, 2))
    assert race.outcomes[2] is None
    assert {race.outcomes[0], race.outcomes[1]} == {None, Refusal("40P01", None)}
    assert not race.broken


def test_approval_survives_the_loss_of_the_row_it_was_to_reactivate(explorer: Explorer) -> None:
    # A participant who was dropped is nobody's concern, so moving that row locks no quest.
    cell = Cell("left", ("approve", "move participant"), READ_COMMITTED_BOTH)
    for race in explorer.every_ordering(cell):
        assert race.outcomes == (None, None), race


def test_states_are_what_they_claim(migrated: psycopg.Connection[Any], explorer: Explorer) -> None:
    for number, state in enumerate(STATES, 1000):
        rows = Rows.numbered(number)
        explorer.observer.connection.execute(insert_rows(state, rows))
        assert bool(explorer.observer.errors([rows.q, rows.q2])) == (state.name in BROKEN_STATES), state
    with pytest.raises(AssertionError):
        # No race has seen these errors.
        explorer.sweep()


def _run_all(judge: Judge) -> Tally:
    for cell in TELLING:
        judge.every_ordering(cell)
    return judge.tally


def _listed(findings: list[Any]) -> str:
    return "\n".join(map(str, findings[:20]))
