"""The broken state is refused, by the constraint it breaks, whatever happened to the triggers."""

from typing import Any

import psycopg
import pytest

from tests.law.cases import (
    ACTIVE_PARTICIPANT_KEY,
    APPLICATION_MARKER,
    CASES,
    PARTICIPANT_KEY,
    PARTICIPANT_MARKER,
    QUEST_KEY,
    QUEST_MARKER,
    Case,
)
from tests.law.refusal import (
    at_each_level,
    disable_triggers,
    drop_constraint,
    expected_refusal,
    rules_broken,
    run,
    run_at_each_level,
)

_Connection = psycopg.Connection[Any]

MARKERS = {APPLICATION_MARKER, PARTICIPANT_MARKER, QUEST_MARKER}

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_refused_with_triggers_disabled(case: Case, migrated: _Connection) -> None:
    expected = expected_refusal(migrated, case.constraint)
    disable_triggers(migrated)

    assert run_at_each_level(migrated, case) == at_each_level(expected)

    assert rules_broken(migrated) == set()


@every_case
def test_refused_with_the_mechanism_off(case: Case, migrated: _Connection) -> None:
    """A session may switch the mechanism off: markers are still kept, and then the law decides alone."""
    expected = expected_refusal(migrated, case.constraint)
    migrated.execute("set integrity.mechanism = off")
    migrated.commit()

    found = run_at_each_level(migrated, case)

    if case.constraint in MARKERS:
        assert {refusal.sqlstate for refusal in found.values() if refusal} <= {"23503"}
    else:
        assert found == at_each_level(expected)
    assert rules_broken(migrated) == set()


@every_case
def test_only_its_constraint_refuses_it(case: Case, migrated: _Connection) -> None:
    """Each case bites: without its constraint the same writes commit, and the proof then sees the state."""
    behind = expected_refusal(migrated, case.behind) if case.behind else None
    drop_constraint(migrated, case.constraint)
    disable_triggers(migrated)

    assert run(migrated, case) == behind

    assert rules_broken(migrated) >= case.rules


@pytest.mark.parametrize("case", [case for case in CASES if not case.healed], ids=lambda case: case.name)
def test_refused_with_triggers_enabled(case: Case, migrated: _Connection) -> None:
    """What the mechanism does not heal is refused under the same name; a trigger may do it earlier."""
    expected = expected_refusal(migrated, case.constraint)

    assert run_at_each_level(migrated, case) == at_each_level(expected)

    assert rules_broken(migrated) == set()


@pytest.mark.parametrize("case", [case for case in CASES if case.healed], ids=lambda case: case.name)
def test_healed_with_triggers_enabled(case: Case, migrated: _Connection) -> None:
    assert run_at_each_level(migrated, case) == at_each_level(None)

    assert rules_broken(migrated) == set()


def test_every_constraint_of_the_law_has_a_case(migrated: _Connection) -> None:
    """A constraint added to the law without a case goes red here."""
    law = {name for (name,) in migrated.execute("select name from integrity.law where chosen is null")}

    # PARTICIPANT_KEY stands in where the app's own key is missing; test_adopted.py has its cases.
    assert {case.constraint for case in CASES} - {PARTICIPANT_KEY} == law


def test_every_error_rule_has_a_case(migrated: _Connection) -> None:
    """What the proof calls an error, the law refuses."""
    errors = {rule for (rule,) in migrated.execute("select rule from integrity.rule where severity = 'error'")}

    assert {rule for case in CASES for rule in case.rules} == errors


def test_only_keys_behind_other_keys_have_no_rule() -> None:
    """Markers are the law's own business; every other case is a violation that the proof knows."""
    silent = {case.constraint for case in CASES if not case.rules}

    assert {name for name in silent if not name.endswith("_marker")} == {QUEST_KEY}
    assert ACTIVE_PARTICIPANT_KEY not in silent
