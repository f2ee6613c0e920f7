"""unknown_status: every status is one of the app's values."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, enforce, places, repair, rows

RULE = "unknown_status"

KNOWN = {
    "applications_application": ["pending", "approved", "rejected", "kicked"],
    "quests_questparticipant": ["joined", "in_progress", "completed", "dropped"],
    "quests_quest": ["open", "in-progress", "completed"],
}
PLANTS = {
    "applications_application": plant.unknown_status,
    "quests_questparticipant": plant.unknown_participant_status,
    "quests_quest": plant.unknown_quest_status,
}


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


def test_every_status_of_the_app_is_known(rules: psycopg.Connection[Any]) -> None:
    for status in KNOWN["quests_quest"]:
        factory.quest(rules, status=status)
    for status in KNOWN["applications_application"]:
        factory.application(rules, factory.quest(rules), factory.user(rules), status=status)
    for status in KNOWN["quests_questparticipant"]:
        factory.participant(rules, factory.quest(rules), factory.user(rules), status=status)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("table", KNOWN)
def test_violation(table: str, rules: psycopg.Connection[Any]) -> None:
    planted = PLANTS[table](rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["expected"] == {"status": KNOWN[table]}
    assert row["found"]["status"] not in KNOWN[table]
    assert row["repair"] is None


@pytest.mark.parametrize("status", ["Open", "open ", "in_progress", ""])
def test_near_miss_is_unknown(status: str, rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status=status)
    assert [row["quest_id"] for row in rows(rules, RULE)] == [quest_id]


@pytest.mark.parametrize("table", KNOWN)
def test_known_status_by_hand_settles_it(table: str, unattached: psycopg.Connection[Any]) -> None:
    planted = PLANTS[table](unattached)
    attach(unattached)
    # Only a person knows what was meant; until then the row can be saved as it is.
    assert repair(unattached) == {}
    unattached.execute(f"update {table} set status = status")
    unattached.commit()
    assert_planted(unattached, planted)

    known = {"applications_application": "pending", "quests_questparticipant": "joined", "quests_quest": "open"}
    unattached.execute(f"update {table} set status = %s where status <> all(%s)", [known[table], KNOWN[table]])
    unattached.commit()

    assert places(unattached) == set()
    assert enforce(unattached) == []
