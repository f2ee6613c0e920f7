"""open_quest_with_approval: a quest with an approved application is no longer open."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "open_quest_with_approval"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])
def test_open_quest_with_another_application(status: str, rules: psycopg.Connection[Any]) -> None:
    factory.application(rules, factory.quest(rules), factory.user(rules), status=status)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["in-progress", "completed"])
def test_quest_that_is_not_open(status: str, rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status=status)
    factory.application(rules, quest_id, factory.user(rules), status="approved")
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.open_quest_with_approval(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["found"] == {"quest_status": "open"}
    assert row["repair"] == "derive_quest"


def test_two_approvals_are_one_violation_of_the_earlier(rules: psycopg.Connection[Any]) -> None:
    planted = plant.open_quest_with_approval(rules)
    factory.application(rules, planted.quest_id, factory.user(rules), status="approved")
    assert [row["application_id"] for row in rows(rules, RULE)] == [planted.application_id]


def test_an_earlier_application_that_was_not_approved_hides_nothing(rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules)
    factory.application(rules, quest_id, factory.user(rules))
    approved = factory.application(rules, quest_id, factory.user(rules), status="approved")
    assert [row["application_id"] for row in rows(rules, RULE)] == [approved]


def test_repair_of_what_is_behind_it_settles_it(unattached: psycopg.Connection[Any]) -> None:
    """The participant is created first, and the quest follows by itself."""
    planted = plant.open_quest_with_approval(unattached)
    attach(unattached)

    outcomes = repair(unattached)

    assert {rule: outcome for (rule, _), outcome in outcomes.items()} == {
        "approved_without_participant": "repaired",
        RULE: "gone",
    }
    assert places(unattached) == set()
    quest = unattached.execute("select status, assigned_to_id from quests_quest where id = %s", [planted.quest_id])
    assert quest.fetchone() == ("in-progress", planted.user_id)


def test_repair_derives_a_quest_that_has_its_participant(unattached: psycopg.Connection[Any]) -> None:
    """Asked for this rule alone, with nothing behind it to repair first."""
    quest_id = factory.quest(unattached)
    user_id, *_ = plant.admit(unattached, quest_id)
    attach(unattached)
    (run,) = unattached.execute("select integrity.start_repair('test', '{}')").fetchone() or (None,)
    unattached.execute("select integrity.plan_repair(%s, array[%s], null, null, null)", [run, RULE])
    unattached.execute("select integrity.repair_batch(%s, 10)", [run])
    unattached.commit()

    items = unattached.execute("select rule, outcome from integrity.repair_item where run = %s", [run])
    assert items.fetchall() == [(RULE, "repaired")]
    assert places(unattached) == set()
    quest = unattached.execute("select status, assigned_to_id from quests_quest where id = %s", [quest_id])
    assert quest.fetchone() == ("in-progress", user_id)
