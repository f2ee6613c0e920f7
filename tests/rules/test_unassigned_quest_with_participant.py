"""unassigned_quest_with_participant: a quest that somebody takes part in is assigned to one of them."""

from typing import Any

import psycopg

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "unassigned_quest_with_participant"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


def test_quest_whose_only_participant_was_dropped(rules: psycopg.Connection[Any]) -> None:
    factory.participant(rules, factory.quest(rules), factory.user(rules), status="dropped")
    assert rows(rules, RULE) == []


def test_wrong_assignee_is_another_rule(rules: psycopg.Connection[Any]) -> None:
    plant.assignee_not_participant(rules)
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.unassigned_quest_with_participant(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["expected"] == {"assigned_to_id": str(planted.user_id)}
    assert row["found"] == {"assigned_to_id": None, "quest_status": "in-progress"}
    assert row["repair"] == "derive_quest"


def test_completed_quest_shows_too(rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status="completed", completed_at=plant.DONE)
    plant.admit(rules, quest_id, status="completed")
    assert [row["quest_id"] for row in rows(rules, RULE)] == [quest_id]


def test_repair_assigns_the_earliest(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.unassigned_quest_with_participant(unattached)
    plant.admit(unattached, planted.quest_id)
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    quest = unattached.execute("select status, assigned_to_id from quests_quest where id = %s", [planted.quest_id])
    assert quest.fetchone() == ("in-progress", planted.user_id)


def test_repair_leaves_a_completed_quest_completed(unattached: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(unattached, status="completed", completed_at=plant.DONE)
    user_id, *_ = plant.admit(unattached, quest_id, status="completed")
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    quest = unattached.execute("select status, assigned_to_id from quests_quest where id = %s", [quest_id])
    assert quest.fetchone() == ("completed", user_id)


def test_an_earlier_one_who_left_hides_nobody(rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status="in-progress")
    factory.participant(rules, quest_id, factory.user(rules), status="dropped")
    active = factory.participant(rules, quest_id, factory.user(rules))
    assert [row["participant_id"] for row in rows(rules, RULE)] == [active]


def test_two_participants_are_one_violation_of_the_earlier(rules: psycopg.Connection[Any]) -> None:
    planted = plant.unassigned_quest_with_participant(rules)
    factory.participant(rules, planted.quest_id, factory.user(rules))
    assert [row["participant_id"] for row in rows(rules, RULE)] == [planted.participant_id]
