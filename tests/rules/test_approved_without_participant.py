"""approved_without_participant: an approved application means that its applicant takes part."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "approved_without_participant"


def _state(connection: psycopg.Connection[Any], planted: plant.Planted) -> tuple[Any, Any]:
    application = connection.execute(
        "select status from applications_application where id = %s", [planted.application_id]
    ).fetchone()
    participants = connection.execute(
        "select status from quests_questparticipant where quest_id = %s and user_id = %s",
        [planted.quest_id, planted.user_id],
    ).fetchall()
    return application, participants


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])
def test_application_that_is_not_approved_needs_nobody(status: str, rules: psycopg.Connection[Any]) -> None:
    factory.application(rules, factory.quest(rules), factory.user(rules), status=status)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["joined", "in_progress", "completed"])
def test_participant_at_any_stage_but_dropped_counts(status: str, rules: psycopg.Connection[Any]) -> None:
    plant.admit(rules, factory.quest(rules, status="in-progress"), status=status)
    assert rows(rules, RULE) == []


def test_active_row_beside_a_dropped_one_counts(rules: psycopg.Connection[Any]) -> None:
    plant.drop_participant_key(rules)
    quest_id = factory.quest(rules, status="in-progress")
    user_id, *_ = plant.admit(rules, quest_id, status="dropped")
    factory.participant(rules, quest_id, user_id)
    assert rows(rules, RULE) == []


def test_violation_without_a_row(rules: psycopg.Connection[Any]) -> None:
    planted = plant.approved_without_participant(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["found"] == {"participant_status": None}
    assert row["repair"] == "create_participant"
    assert "has no participant" in row["message"]


def test_violation_with_a_dropped_row(rules: psycopg.Connection[Any]) -> None:
    planted = plant.approved_with_dropped_participant(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["found"] == {"participant_status": "dropped"}
    assert row["repair"] == "end_application"
    assert "was dropped" in row["message"]


def test_participant_elsewhere_does_not_count(rules: psycopg.Connection[Any]) -> None:
    """Neither the applicant on another quest, nor another user on this one."""
    planted = plant.approved_without_participant(rules)
    elsewhere = plant.quest_in_progress(rules)
    factory.participant(rules, elsewhere, planted.user_id)
    assert [row["application_id"] for row in rows(rules, RULE)] == [planted.application_id]


def test_who_left_elsewhere_and_somebody_else_who_left_say_nothing(rules: psycopg.Connection[Any]) -> None:
    """Only a dropped participant of the same user on the same quest says that the applicant has left."""
    planted = plant.approved_without_participant(rules)
    assert planted.user_id is not None
    factory.participant(rules, plant.quest_in_progress(rules), planted.user_id, status="dropped")
    factory.participant(rules, planted.quest_id, factory.user(rules), status="dropped")
    (row,) = rows(rules, RULE)
    assert (row["repair"], row["participant_id"]) == ("create_participant", None)


def test_repair_creates_the_participant(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.approved_without_participant(unattached)
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    assert _state(unattached, planted) == (("approved",), [("joined",)])


def test_repair_leaves_who_may_have_left_until_a_person_decides(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.approved_without_participant(unattached)
    attach(unattached)
    (run,) = unattached.execute("select integrity.start_repair('test', '{}')").fetchone() or (None,)
    unattached.execute("select integrity.plan_repair(%s, null, null, null, null)", [run])

    unattached.execute("select integrity.repair_batch(%s, 100)", [run])

    assert unattached.execute("select outcome from integrity.repair_item").fetchall() == [("undecided",)]
    assert _state(unattached, planted) == (("approved",), [])


def test_repair_can_revoke_instead(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.approved_without_participant(unattached)
    attach(unattached)

    outcomes = repair(unattached, missing_participant="revoke")

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    assert _state(unattached, planted) == (("kicked",), [])


def test_repair_does_not_put_back_who_left(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.approved_with_dropped_participant(unattached)
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    application, participants = _state(unattached, planted)
    assert application == ("kicked",)
    assert participants == [("dropped",)]
