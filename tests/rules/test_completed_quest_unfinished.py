"""completed_quest_unfinished: a warning, since completing a participant pays a reward and only the app does that."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "completed_quest_unfinished"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["completed", "dropped"])
def test_participant_who_finished_or_left(status: str, rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status="completed", completed_at=plant.DONE)
    factory.participant(rules, quest_id, factory.user(rules), status=status)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["open", "in-progress"])
def test_quest_that_is_not_completed(status: str, rules: psycopg.Connection[Any]) -> None:
    factory.participant(rules, factory.quest(rules, status=status), factory.user(rules))
    assert rows(rules, RULE) == []


def test_violation_by_a_participant(rules: psycopg.Connection[Any]) -> None:
    planted = plant.completed_quest_unfinished(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["severity"] == "warning"
    assert row["repair"] is None
    assert row["found"]["participant_status"] == "joined"


def test_violation_by_the_time(rules: psycopg.Connection[Any]) -> None:
    planted = plant.completed_quest_without_time(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["found"] == {"completed_at": None, "participant_status": None}


def test_two_reasons_are_one_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.completed_quest_unfinished(rules)
    plant.admit(rules, planted.quest_id, status="in_progress")
    rules.execute("update quests_quest set completed_at = null where id = %s", [planted.quest_id])
    assert_planted(rules, planted)


def test_nothing_is_repaired_by_itself(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.completed_quest_unfinished(unattached)
    attach(unattached)
    assert repair(unattached) == {}
    assert_planted(unattached, planted)


def test_finishing_by_hand_settles_it(unattached: psycopg.Connection[Any]) -> None:
    planted = [plant.completed_quest_unfinished(unattached), plant.completed_quest_without_time(unattached)]
    attach(unattached)
    unattached.execute(
        "update quests_questparticipant set status = 'completed' where quest_id = %s", [planted[0].quest_id]
    )
    unattached.execute("update quests_quest set completed_at = now() where id = %s", [planted[1].quest_id])
    unattached.commit()
    assert places(unattached) == set()


@pytest.mark.parametrize("status", ["joined", "in_progress"])
def test_one_who_finished_earlier_hides_nobody(status: str, rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status="completed", completed_at=plant.DONE)
    factory.participant(rules, quest_id, factory.user(rules), status="completed")
    unfinished = factory.participant(rules, quest_id, factory.user(rules), status=status)
    (row,) = rows(rules, RULE)
    assert (row["quest_id"], row["participant_id"]) == (quest_id, unfinished)


@pytest.mark.parametrize(("completed_at", "said"), [(None, True), (plant.DONE, False)])
def test_the_missing_time_is_said(completed_at: Any, said: bool, rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status="completed", completed_at=completed_at)
    factory.participant(rules, quest_id, factory.user(rules))
    (row,) = rows(rules, RULE)
    assert ("no completed_at" in row["message"]) == said
