"""open_quest_with_participant: a quest that somebody takes part in is no longer open."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, repair, rows, rules_broken

RULE = "open_quest_with_participant"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


def test_open_quest_whose_only_participant_was_dropped(rules: psycopg.Connection[Any]) -> None:
    factory.participant(rules, factory.quest(rules), factory.user(rules), status="dropped")
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["in-progress", "completed"])
def test_quest_that_is_not_open(status: str, rules: psycopg.Connection[Any]) -> None:
    factory.participant(rules, factory.quest(rules, status=status), factory.user(rules))
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.open_quest_with_participant(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["found"] == {"quest_status": "open"}
    assert row["repair"] == "derive_quest"


def test_two_participants_are_one_violation_of_the_earlier(rules: psycopg.Connection[Any]) -> None:
    planted = plant.open_quest_with_participant(rules)
    factory.participant(rules, planted.quest_id, factory.user(rules))
    assert [row["participant_id"] for row in rows(rules, RULE)] == [planted.participant_id]


def test_repair_derives_the_quest(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.open_quest_with_participant(unattached)
    attach(unattached)

    outcomes = repair(unattached)

    assert {rule: outcome for (rule, _), outcome in outcomes.items()} == {RULE: "repaired"}
    # Whether somebody who joined directly may stay is for a person to say.
    assert set(rules_broken(unattached)) == planted.accompanied_by
    quest = unattached.execute("select status, assigned_to_id from quests_quest where id = %s", [planted.quest_id])
    assert quest.fetchone() == ("in-progress", planted.user_id)


def test_an_earlier_one_who_left_hides_nobody(rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules)
    factory.participant(rules, quest_id, factory.user(rules), status="dropped")
    active = factory.participant(rules, quest_id, factory.user(rules))
    assert [row["participant_id"] for row in rows(rules, RULE)] == [active]
