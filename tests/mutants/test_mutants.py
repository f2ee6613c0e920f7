"""Every object of the layer has its mutants and is listed in docs/mutants.md, and the guards notice a slice of them."""

import json
import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pytest_postgresql.executors import NoopExecutor

from tests.mutants import guards, report
from tests.mutants.catalog import Mutant, mutants
from tests.support import mutation
from tests.support.database import copied, target_of
from tests.support.templates import enforce

_Connection = psycopg.Connection[Any]

SEED = 20261123


@pytest.fixture(scope="module")
def shared(migrated_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield the one connection to a migrated database in which no mutant stays."""
    with copied(migrated_server, "mutants") as connection:
        yield connection


@pytest.fixture(scope="module")
def today(shared: _Connection) -> list[Mutant]:
    """Return every mutant."""
    return mutants(shared)


def test_the_document_lists_the_objects_of_today(today: list[Mutant]) -> None:
    """After a change that this does not like: make mutants."""
    assert report.listed(report.PATH.read_text()) == {(mutant.kind, mutant.subject) for mutant in today}


def test_every_constraint_trigger_function_and_view_has_mutants(shared: _Connection, today: list[Mutant]) -> None:
    guarded = shared.execute(
        "select kind, identity from integrity.guard where kind in ('constraint', 'trigger', 'function', 'view')"
    ).fetchall()
    assert set(guarded) - {(mutant.kind, mutant.subject) for mutant in today} == set()


def test_every_mutant_has_a_name_of_its_own(today: list[Mutant]) -> None:
    assert len({mutant.name for mutant in today}) == len(today)


def test_every_argument_is_about_a_mutant_of_today(today: list[Mutant]) -> None:
    """One that is not has lost its mutant to a change of sql/: it goes, or gets the new name."""
    assert report.idle_arguments(today) == []


def test_a_test_killed_no_mutant_that_is_argued() -> None:
    """What has been killed once needs no argument, and cannot be equivalent."""
    killed = json.loads(report.KILLERS.read_text())
    assert [name for name in killed if report.argument(Mutant("", "", "", name)) is not None] == []


def test_the_guards_notice(shared: _Connection, today: list[Mutant]) -> None:
    chosen = _slice(today)
    verdicts = dict(guards.judge(shared, chosen))
    possible = [mutant for mutant in chosen if verdicts[mutant].refused is None]
    assert len(possible) > 250
    assert [mutant.name for mutant in possible if not verdicts[mutant].noticed] == []


def test_the_guards_notice_what_is_enforced_on_request(migrated: _Connection, today: list[Mutant]) -> None:
    before = {mutant.name for mutant in today}
    migrated.autocommit = True
    enforce(migrated)
    migrated.autocommit = False
    added = [mutant for mutant in mutants(migrated) if mutant.name not in before and mutant.kind == "constraint"]
    assert {mutant.subject.partition(" on ")[0] for mutant in added} == {
        "integrity_participant_has_approved_application",
        "integrity_quest_has_one_participant",
    }
    verdicts = dict(guards.judge(migrated, added))
    possible = [mutant for mutant in added if verdicts[mutant].refused is None]
    assert len(possible) >= 10
    assert [mutant.name for mutant in possible if not verdicts[mutant].noticed] == []


def test_a_mutation_is_met_only_where_its_object_is(empty: _Connection, migrated: _Connection) -> None:
    drop = "drop trigger integrity_mark on public.quests_quest"
    assert mutation.apply(target_of(migrated), drop)
    assert not mutation.apply(target_of(empty), drop)
    with pytest.raises(psycopg.errors.SyntaxError):
        mutation.apply(target_of(migrated), "drop it")


def _slice(found: list[Mutant]) -> list[Mutant]:
    """Choose a mutant of each object, always the same."""
    draw = random.Random(SEED)
    by_object: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in found:
        by_object.setdefault((mutant.kind, mutant.subject), []).append(mutant)
    return [draw.choice(each) for each in by_object.values()]
