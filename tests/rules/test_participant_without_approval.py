"""participant_without_approval: a warning, since joining directly is legitimate."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "participant_without_approval"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


def test_dropped_participant_needs_no_approval(rules: psycopg.Connection[Any]) -> None:
    """Everybody who was kicked looks like this: the incident's own command flagged them all."""
    quest_id, user_id = factory.quest(rules), factory.user(rules)
    factory.application(rules, quest_id, user_id, status="kicked")
    factory.participant(rules, quest_id, user_id, status="dropped")
    assert rows(rules, RULE) == []


def test_one_approval_among_others_is_enough(rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status="in-progress")
    user_id, *_ = plant.admit(rules, quest_id)
    plant.assign(rules, quest_id, user_id)
    for status in ("kicked", "rejected", "pending"):
        factory.application(rules, quest_id, user_id, status=status)
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.participant_without_approval(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["severity"] == "warning"
    assert row["repair"] is None
    assert row["found"]["participant_status"] == "joined"


@pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])
def test_application_that_is_not_approved_does_not_count(status: str, rules: psycopg.Connection[Any]) -> None:
    planted = plant.participant_without_approval(rules)
    factory.application(rules, planted.quest_id, planted.user_id, status=status)
    assert [row["participant_id"] for row in rows(rules, RULE)] == [planted.participant_id]


def test_approval_elsewhere_does_not_count(rules: psycopg.Connection[Any]) -> None:
    """Neither the user's on another quest, nor another user's on this one."""
    planted = plant.participant_without_approval(rules)
    factory.application(rules, plant.quest_in_progress(rules), planted.user_id, status="approved")
    plant.admit(rules, planted.quest_id)
    assert [row["participant_id"] for row in rows(rules, RULE)] == [planted.participant_id]


def test_nothing_is_repaired_by_itself(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.participant_without_approval(unattached)
    attach(unattached)
    assert repair(unattached) == {}
    assert_planted(unattached, planted)


def test_approving_an_application_settles_it(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.participant_without_approval(unattached)
    attach(unattached)
    factory.application(unattached, planted.quest_id, planted.user_id, status="approved")
    unattached.commit()
    assert places(unattached) == set()
