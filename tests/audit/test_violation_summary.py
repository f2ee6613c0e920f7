"""integrity.violation_summary: a row per rule, zero counts included."""

from typing import Any

import psycopg

from tests.support import factory, plant

_Connection = psycopg.Connection[Any]
SUMMARY = "select rule, severity, category, violations, quests, users from integrity.violation_summary"


def _counts(connection: _Connection) -> dict[str, tuple[int, int, int]]:
    return {rule: tuple(counts) for rule, _, _, *counts in connection.execute(SUMMARY)}  # type: ignore[misc]


def test_every_rule_is_there_when_nothing_is_broken(rules: _Connection) -> None:
    registered = rules.execute(
        "select rule, severity, category from integrity.rule where severity <> 'off' order by position"
    ).fetchall()
    found = rules.execute(SUMMARY).fetchall()
    # In the order of the rules: the runner prints it as it comes.
    assert [row[:3] for row in found] == registered
    assert {row[3:] for row in found} == {(0, 0, 0)}


def test_categories_are_the_incidents_own(rules: _Connection) -> None:
    """Who knows the incident log's audit finds its five categories, word for word, in its order."""
    found = [category for (category,) in rules.execute("select category from integrity.violation_summary")]
    assert found[:5] == [
        "approved applications without participant records",
        "participants without approved applications",
        "quest status inconsistencies",
        "quest assignment inconsistencies",
        "duplicate participants",
    ]


def test_counts_violations_quests_and_users_apart(rules: _Connection) -> None:
    """Two people lost on one quest, one of them on another too."""
    one, two = plant.quest_in_progress(rules), plant.quest_in_progress(rules)
    ann, ben = factory.user(rules), factory.user(rules)
    for quest_id, user_id in ((one, ann), (one, ben), (two, ann)):
        factory.application(rules, quest_id, user_id, status="approved")
    counts = _counts(rules)
    assert counts.pop("approved_without_participant") == (3, 2, 2)
    assert set(counts.values()) == {(0, 0, 0)}


def test_a_violation_of_nobody_counts_no_user(rules: _Connection) -> None:
    plant.in_progress_without_participant(rules)
    assert _counts(rules)["in_progress_without_participant"] == (1, 1, 0)


def test_adds_up_to_the_violations(rules: _Connection) -> None:
    plant.everything(rules)
    row = rules.execute(
        "select (select sum(violations) from integrity.violation_summary), (select count(*) from integrity.violations)"
    ).fetchone()
    assert row is not None
    assert row[0] == row[1]
    assert row[0] >= len(plant.RULES)
