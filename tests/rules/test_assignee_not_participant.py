"""assignee_not_participant: a quest is assigned to one of its active participants or to nobody."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "assignee_not_participant"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


def test_quest_assigned_to_nobody(rules: psycopg.Connection[Any]) -> None:
    plant.unassigned_quest_with_participant(rules)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["joined", "in_progress", "completed"])
def test_any_active_participant_may_be_the_assignee(status: str, rules: psycopg.Connection[Any]) -> None:
    quest_id = plant.quest_in_progress(rules)
    later, *_ = plant.admit(rules, quest_id, status=status)
    plant.assign(rules, quest_id, later)
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.assignee_not_participant(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["found"] == {"assigned_to_id": str(planted.user_id)}
    assert row["repair"] == "derive_quest"


def test_dropped_participant_as_assignee(rules: psycopg.Connection[Any]) -> None:
    """What a kick from a stale page leaves."""
    quest_id = plant.quest_in_progress(rules)
    dropped = factory.user(rules)
    factory.participant(rules, quest_id, dropped, status="dropped")
    plant.assign(rules, quest_id, dropped)
    assert [row["user_id"] for row in rows(rules, RULE)] == [dropped]


def test_repair_assigns_an_active_participant(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.assignee_not_participant(unattached)
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    quest = unattached.execute(
        "select quest.status, participant.user_id = quest.assigned_to_id from quests_quest as quest"
        " join quests_questparticipant as participant on participant.quest_id = quest.id where quest.id = %s",
        [planted.quest_id],
    )
    assert quest.fetchall() == [("in-progress", True)]


def test_repair_opens_a_quest_that_has_nobody(unattached: psycopg.Connection[Any]) -> None:
    stranger = factory.user(unattached)
    quest_id = factory.quest(unattached, status="in-progress", assigned_to_id=stranger)
    attach(unattached)

    repair(unattached)

    assert places(unattached) == set()
    quest = unattached.execute("select status, assigned_to_id from quests_quest where id = %s", [quest_id])
    assert quest.fetchone() == ("open", None)
