"""duplicate_participant: a user takes part in a quest once."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "duplicate_participant"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


def test_one_user_on_two_quests_and_two_users_on_one(rules: psycopg.Connection[Any]) -> None:
    one, two = factory.quest(rules), factory.quest(rules)
    ann, ben = factory.user(rules), factory.user(rules)
    for quest_id, user_id in ((one, ann), (two, ann), (one, ben)):
        factory.participant(rules, quest_id, user_id)
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.duplicate_participant(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    ids = rules.execute(
        "select id from quests_questparticipant where quest_id = %s order by id", [planted.quest_id]
    ).fetchall()
    assert row["found"] == {"participants": 2, "ids": [each for (each,) in ids]}
    assert row["repair"] == "merge_participants"


def test_dropped_row_beside_an_active_one_is_a_duplicate(rules: psycopg.Connection[Any]) -> None:
    """The law's key would let it pass, since a dropped row's marker is NULL; the app's own key does not."""
    plant.drop_participant_key(rules)
    quest_id = plant.quest_in_progress(rules)
    (user_id,) = rules.execute(
        "select user_id from quests_questparticipant where quest_id = %s", [quest_id]
    ).fetchone() or (None,)
    factory.participant(rules, quest_id, user_id, status="dropped")
    assert [row["quest_id"] for row in rows(rules, RULE)] == [quest_id]


@pytest.mark.parametrize("stays", ["completed", "in_progress", "joined", "dropped"])
def test_repair_keeps_the_row_that_got_furthest(stays: str, unattached: psycopg.Connection[Any]) -> None:
    """References to the others follow it, in whatever tables; nothing else is lost."""
    plant.drop_participant_key(unattached)
    order = ["dropped", "joined", "in_progress", "completed"]
    behind = order[: order.index(stays)] or ["dropped"]
    approved = stays != "dropped"
    quest_id = factory.quest(unattached, status="in-progress" if approved else "open")
    user_id = factory.user(unattached)
    if approved:
        factory.application(unattached, quest_id, user_id, status="approved", reviewed_at=plant.DONE)
        plant.assign(unattached, quest_id, user_id)
    # Two that are equally far stay in the order in which they joined.
    ahead = factory.participant(unattached, quest_id, user_id, status=stays)
    others = [factory.participant(unattached, quest_id, user_id, status=status) for status in [*behind, stays]]
    attempts = [
        factory.insert(
            unattached,
            "quests_questsubmissionattempt",
            {
                "attempt_number": 1,
                "timestamp": plant.DONE,
                "participant_id": participant_id,
                "quest_id": quest_id,
            },
        )
        for participant_id in [ahead, *others]
    ]
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    left = unattached.execute("select id, status from quests_questparticipant where quest_id = %s", [quest_id])
    assert left.fetchall() == [(ahead, stays)]
    referring = unattached.execute("select id, participant_id from quests_questsubmissionattempt order by id")
    assert referring.fetchall() == [(attempt, ahead) for attempt in attempts]


def test_repair_keeps_who_joined_before_a_status_that_nobody_knows(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.duplicate_participant(unattached)
    unattached.execute("update quests_questparticipant set status = 'invited' where id = %s", [planted.participant_id])
    attach(unattached)

    repair(unattached)

    left = unattached.execute("select status from quests_questparticipant where quest_id = %s", [planted.quest_id])
    assert left.fetchall() == [("joined",)]


def test_repair_merges_nobody_else_and_nothing_elsewhere(unattached: psycopg.Connection[Any]) -> None:
    """Somebody else on the quest who got further, and the same user on another quest that is completed."""
    planted = plant.duplicate_participant(unattached)
    assert planted.user_id is not None
    others = [
        factory.participant(unattached, planted.quest_id, factory.user(unattached), status="in_progress"),
        factory.participant(
            unattached,
            factory.quest(unattached, status="completed", completed_at=plant.DONE),
            planted.user_id,
            status="completed",
        ),
    ]
    attach(unattached)

    repair(unattached)

    left = unattached.execute("select id from quests_questparticipant order by id").fetchall()
    assert [row_id for (row_id,) in left] == [planted.participant_id, *others]
