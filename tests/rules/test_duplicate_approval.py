"""duplicate_approval: a user has one approved application per quest."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "duplicate_approval"
# Before all that a factory makes.
EARLIER = "2000-01-01 00:00+00"


def _statuses(connection: psycopg.Connection[Any], quest_id: int) -> list[str]:
    found = connection.execute(
        "select status from applications_application where quest_id = %s order by id", [quest_id]
    )
    return [status for (status,) in found]


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])
def test_earlier_application_that_ended_is_no_duplicate(status: str, rules: psycopg.Connection[Any]) -> None:
    """A re-application is a new row."""
    quest_id, user_id = factory.quest(rules), factory.user(rules)
    factory.application(rules, quest_id, user_id, status=status)
    factory.application(rules, quest_id, user_id, status="approved")
    assert rows(rules, RULE) == []


def test_one_user_on_two_quests_and_two_users_on_one(rules: psycopg.Connection[Any]) -> None:
    one, two = factory.quest(rules), factory.quest(rules)
    ann, ben = factory.user(rules), factory.user(rules)
    for quest_id, user_id in ((one, ann), (two, ann), (one, ben)):
        factory.application(rules, quest_id, user_id, status="approved")
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.duplicate_approval(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    ids = rules.execute(
        "select id from applications_application where quest_id = %s order by id", [planted.quest_id]
    ).fetchall()
    assert row["found"] == {"approved": 2, "ids": [each for (each,) in ids]}
    assert row["repair"] == "reject_duplicates"


def test_repair_keeps_the_earliest(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.duplicate_approval(unattached)
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    assert _statuses(unattached, planted.quest_id) == ["approved", "rejected"]


@pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])
def test_repair_keeps_the_earliest_approval_though_an_application_came_before(
    status: str, unattached: psycopg.Connection[Any]
) -> None:
    planted = plant.duplicate_approval(unattached)
    factory.application(unattached, planted.quest_id, planted.user_id, status=status, applied_at=EARLIER)
    attach(unattached)

    repair(unattached)

    assert places(unattached) == set()
    assert _statuses(unattached, planted.quest_id) == ["approved", "rejected", status]


def test_repair_keeps_the_earliest_whatever_the_participant_row_says(unattached: psycopg.Connection[Any]) -> None:
    """The app's model calls application_id of participants a legacy column, to be ignored."""
    planted = plant.duplicate_approval(unattached)
    unattached.execute(
        "update quests_questparticipant set application_id = (select max(id) from applications_application)"
    )
    attach(unattached)

    repair(unattached)

    assert _statuses(unattached, planted.quest_id) == ["approved", "rejected"]


@pytest.mark.parametrize("other", ["elsewhere", "somebody else"])
def test_repair_of_one_leaves_the_other(other: str, unattached: psycopg.Connection[Any]) -> None:
    """The same user's duplicates on another quest, or another user's on the same one."""
    planted = plant.duplicate_approval(unattached)
    assert planted.user_id is not None
    quest_id = planted.quest_id if other == "somebody else" else plant.quest_in_progress(unattached)
    user_id = planted.user_id if other == "elsewhere" else factory.user(unattached)
    left = [factory.application(unattached, quest_id, user_id, status="approved") for _ in range(2)]
    factory.participant(unattached, quest_id, user_id)
    attach(unattached)

    key = f"{RULE}:quest={planted.quest_id}:user={planted.user_id}"
    unattached.execute("select integrity.repair_duplicate_approval(%s, %s, '{}')", [[planted.quest_id], [key]])

    statuses = unattached.execute("select distinct status from applications_application where id = any(%s)", [left])
    assert statuses.fetchall() == [("approved",)]
    assert [row["key"] for row in rows(unattached, RULE)] == [f"{RULE}:quest={quest_id}:user={user_id}"]
