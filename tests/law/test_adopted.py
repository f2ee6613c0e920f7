"""The layer on rows that broke the law before there was one: they stay, and no new one joins them."""

from collections import Counter
from typing import Any

import psycopg
import pytest

from checks import ddl, law
from tests.law.cases import (
    ACTIVE_PARTICIPANT_KEY,
    APPLICATION_STATUS_KNOWN,
    APPROVED_APPLICATION_KEY,
    APPROVED_HAS_PARTICIPANT,
    ASSIGNEE_IS_PARTICIPANT,
    CASES,
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    PARTICIPANT_KEY,
    PARTICIPANT_STATUS_KNOWN,
    QUEST_STATUS_KNOWN,
    STATUS_MATCHES_ASSIGNMENT,
    Case,
    joined,
    taken_quest,
)
from tests.law.refusal import Refusal, disable_triggers, expected_refusal, rules_broken, run

_Connection = psycopg.Connection[Any]

NOT_VALIDATED = {
    APPROVED_HAS_PARTICIPANT,
    ASSIGNEE_IS_PARTICIPANT,
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    STATUS_MATCHES_ASSIGNMENT,
}
# A unique key cannot be attached over duplicates, and a CHECK on statuses would refuse to save an old row unchanged.
# The triggers stand in for these.
WAITING = {
    APPROVED_APPLICATION_KEY: "23505",
    APPLICATION_STATUS_KNOWN: "23514",
    PARTICIPANT_STATUS_KNOWN: "23514",
    QUEST_STATUS_KNOWN: "23514",
}
ATTACHED = [case for case in CASES if case.constraint not in WAITING]


def states(connection: _Connection, state: str) -> set[str]:
    return {name for (name,) in connection.execute("select name from integrity.law_status where state = %s", [state])}


def violations(connection: _Connection) -> Counter[str]:
    """Count the violations of severity error by rule."""
    return Counter(
        rule for (rule,) in connection.execute("select rule from integrity.violations where severity = 'error'")
    )


def test_what_is_attached_to_broken_rows(broken: _Connection) -> None:
    assert states(broken, "not validated") == NOT_VALIDATED
    assert states(broken, "missing") == set(WAITING)
    assert len(violations(broken)) == 8


@pytest.mark.parametrize("case", ATTACHED, ids=lambda case: case.name)
def test_new_broken_writes_are_refused_with_triggers_disabled(case: Case, broken: _Connection) -> None:
    expected = expected_refusal(broken, case.constraint)
    disable_triggers(broken)
    before = violations(broken)

    assert run(broken, case) == expected

    assert violations(broken) == before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_new_broken_writes_are_healed_or_refused(case: Case, broken: _Connection) -> None:
    before = violations(broken)

    refusal = run(broken, case)

    if case.healed:
        assert refusal is None
    elif case.constraint in WAITING:
        assert refusal == Refusal(WAITING[case.constraint], case.constraint, at_commit=False)
    else:
        assert refusal == expected_refusal(broken, case.constraint)
    assert violations(broken) == before


def test_without_the_apps_own_key_the_law_brings_one(keyless: _Connection) -> None:
    names = {name for (name,) in keyless.execute("select name from integrity.law where chosen is null")}

    assert names == {case.constraint for case in CASES} | {PARTICIPANT_KEY}
    assert states(keyless, "enforced") == names


@pytest.mark.parametrize(("status", "marker"), [("joined", True), ("dropped", None)])
@pytest.mark.parametrize("triggers", [True, False])
def test_that_key_refuses_duplicate_participants(
    status: str, marker: bool | None, triggers: bool, keyless: _Connection
) -> None:
    """Dropped ones too, which the key for active ones does not see."""
    if not triggers:
        disable_triggers(keyless)
    quest_id, user_id, _ = taken_quest(keyless)
    keyless.commit()

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        joined(keyless, quest_id, user_id, status=status, integrity_active=marker)

    # The two keys are checked in the order in which they were made.
    assert refusal.value.diag.constraint_name == (ACTIVE_PARTICIPANT_KEY if marker else PARTICIPANT_KEY)
    keyless.rollback()
    assert rules_broken(keyless) == set()


def test_duplicate_participants_keep_the_foreign_keys_waiting(duplicated: _Connection) -> None:
    """A foreign key needs a key to point at; everything else is attached, and the rest follows a repair."""
    assert states(duplicated, "missing") == {ACTIVE_PARTICIPANT_KEY, PARTICIPANT_KEY}
    assert states(duplicated, "waiting") == {APPROVED_HAS_PARTICIPANT, ASSIGNEE_IS_PARTICIPANT}

    duplicated.execute(
        "delete from quests_questparticipant as later using quests_questparticipant as earlier"
        " where later.quest_id = earlier.quest_id and later.user_id = earlier.user_id and later.id > earlier.id"
    )
    duplicated.commit()
    assert rules_broken(duplicated) == set()
    duplicated.commit()
    duplicated.autocommit = True

    assert law.advance(duplicated, ddl.LockPolicy()) == []

    duplicated.autocommit = False
    assert states(duplicated, "enforced") == {case.constraint for case in CASES} | {PARTICIPANT_KEY}
