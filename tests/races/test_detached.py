"""Races on a detached layer, whose rule views are there to judge them: whatever commits, nothing broken does."""

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from checks import attachment, ddl, migrate
from tests.races.campaign import Judge, Outcome, pairs
from tests.races.catalogue import LEVELS, READ_COMMITTED, STATES
from tests.races.explorer import Cell, Explorer
from tests.support.database import another, url_of

# Per pair of operations, beside one at READ COMMITTED.
DRAWN = 1


@pytest.fixture
def judge(migrated: psycopg.Connection[Any]) -> Iterator[Judge]:
    with another(migrated, autocommit=True) as session:
        attachment.detach(session, ddl.LockPolicy())
        # As when attaching was stopped after its first step.
        files = migrate.installed_files(migrate.head_revision(), "public")
        attachment._step(session, lambda: attachment._build(session, files, triggers=False))
        assert attachment.since(session)
    with Explorer(url_of(migrated)) as explorer:
        yield Judge(explorer)


def test_nothing_broken_is_committed(judge: Judge) -> None:
    for number, pair in enumerate(pairs()):
        for draw in range(1 + DRAWN):
            chance = random.Random(f"detached/{number}/{draw}")
            levels = (chance.choice(LEVELS), chance.choice(LEVELS)) if draw else (READ_COMMITTED,) * 2
            judge.some_ordering(Cell(chance.choice(STATES).name, pair, levels), chance)
    judge.explorer.sweep()
    assert not judge.tally.broken, "\n".join(map(str, judge.tally.broken))
    assert not judge.tally.unexpected, "\n".join(map(str, judge.tally.unexpected))
    met = {outcome for _, outcome in judge.tally.by_level()}
    # What needs the mechanism is refused by the CHECK of a marker, or where it would break a pair at commit.
    assert {Outcome.COMMITTED, Outcome.OUR_CHECK, Outcome.OUR_FOREIGN_KEY} <= met
