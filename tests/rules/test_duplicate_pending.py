"""duplicate_pending: a warning, since nothing forbids to apply twice."""

from typing import Any

import psycopg

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "duplicate_pending"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


def test_reapplication_is_no_duplicate(rules: psycopg.Connection[Any]) -> None:
    quest_id, user_id = factory.quest(rules), factory.user(rules)
    for status in ("kicked", "rejected", "pending"):
        factory.application(rules, quest_id, user_id, status=status)
    assert rows(rules, RULE) == []


def test_one_user_on_two_quests_and_two_users_on_one(rules: psycopg.Connection[Any]) -> None:
    one, two = factory.quest(rules), factory.quest(rules)
    ann, ben = factory.user(rules), factory.user(rules)
    for quest_id, user_id in ((one, ann), (two, ann), (one, ben)):
        factory.application(rules, quest_id, user_id)
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.duplicate_pending(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["severity"] == "warning"
    assert row["repair"] is None
    assert row["found"]["pending"] == 2


def test_nothing_is_repaired_by_itself(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.duplicate_pending(unattached)
    attach(unattached)
    assert repair(unattached) == {}
    assert_planted(unattached, planted)


def test_rejecting_one_settles_it(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.duplicate_pending(unattached)
    attach(unattached)
    unattached.execute(
        "update applications_application set status = 'rejected' where id = %s", [planted.application_id]
    )
    unattached.commit()
    assert places(unattached) == set()
