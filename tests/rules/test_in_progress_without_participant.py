"""in_progress_without_participant: a quest in progress has an active participant."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import assert_planted, attach, places, repair, rows

RULE = "in_progress_without_participant"


def test_clean(rules: psycopg.Connection[Any]) -> None:
    plant.sound_rows(rules)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["open", "completed"])
def test_other_quests_need_nobody(status: str, rules: psycopg.Connection[Any]) -> None:
    factory.quest(rules, status=status, completed_at=plant.DONE)
    assert rows(rules, RULE) == []


@pytest.mark.parametrize("status", ["joined", "in_progress", "completed"])
def test_participant_at_any_stage_but_dropped_counts(status: str, rules: psycopg.Connection[Any]) -> None:
    quest_id = factory.quest(rules, status="in-progress")
    factory.participant(rules, quest_id, factory.user(rules), status=status)
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.in_progress_without_participant(rules)
    assert_planted(rules, planted)
    (row,) = rows(rules, RULE)
    assert row["found"] == {"quest_status": "in-progress"}
    assert row["repair"] == "derive_quest"


def test_dropped_participant_does_not_count(rules: psycopg.Connection[Any]) -> None:
    planted = plant.in_progress_without_participant(rules)
    factory.participant(rules, planted.quest_id, factory.user(rules), status="dropped")
    assert [row["quest_id"] for row in rows(rules, RULE)] == [planted.quest_id]


def test_repair_opens_the_quest(unattached: psycopg.Connection[Any]) -> None:
    planted = plant.in_progress_without_participant(unattached)
    attach(unattached)

    outcomes = repair(unattached)

    assert list(outcomes.values()) == ["repaired"]
    assert places(unattached) == set()
    quest = unattached.execute("select status, assigned_to_id from quests_quest where id = %s", [planted.quest_id])
    assert quest.fetchone() == ("open", None)
