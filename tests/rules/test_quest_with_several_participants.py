"""quest_with_several_participants: off, since the app has no limit; a project turns it on or enforces it."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.cli import run
from tests.support.proof import attach, places, rows

RULE = "quest_with_several_participants"
ON = f'[tool.quest-integrity.severity]\n{RULE} = "warning"\n'


@pytest.fixture
def turned_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(ON)
    monkeypatch.chdir(tmp_path)


def test_clean(rules: psycopg.Connection[Any]) -> None:
    quest_id = plant.quest_in_progress(rules)
    factory.application(rules, quest_id, factory.user(rules))
    assert rows(rules, RULE) == []


def test_dropped_participants_do_not_count(rules: psycopg.Connection[Any]) -> None:
    quest_id = plant.quest_in_progress(rules)
    for _ in range(2):
        factory.participant(rules, quest_id, factory.user(rules), status="dropped")
    assert rows(rules, RULE) == []


def test_violation(rules: psycopg.Connection[Any]) -> None:
    planted = plant.quest_with_several_participants(rules)
    (row,) = rows(rules, RULE)
    assert (row["quest_id"], row["severity"], row["repair"]) == (planted.quest_id, "warning", None)
    assert row["found"]["participants"] == len(row["found"]["ids"]) == 2
    assert row["key"] == f"{RULE}:quest={planted.quest_id}"


def test_off_it_is_no_violation(rules: psycopg.Connection[Any]) -> None:
    plant.quest_with_several_participants(rules)
    assert places(rules) == set()
    assert rules.execute("select count(*) from integrity.audit()").fetchone() == (0,)
    assert rules.execute("select from integrity.violation_summary where rule = %s", [RULE]).fetchall() == []


@pytest.mark.parametrize("scope", [[], ["--quest", "{quest}"]])
@pytest.mark.usefixtures("turned_on")
def test_a_project_turns_it_on(scope: list[str], unattached: psycopg.Connection[Any]) -> None:
    planted = plant.quest_with_several_participants(unattached)
    attach(unattached)
    scope = [part.format(quest=planted.quest_id) for part in scope]
    ran = run(unattached, "audit", "--format", "csv", *scope)
    assert ran.code == 0
    assert [line.split(",")[0] for line in ran.out.splitlines()[1:]] == [RULE]
    unattached.execute("update quests_questparticipant set status = 'dropped' where quest_id = %s", [planted.quest_id])
    unattached.commit()
    assert run(unattached, "audit", "--format", "csv", *scope).out.splitlines()[1:] == []


def test_add_rule_turns_it_on(rules: psycopg.Connection[Any]) -> None:
    plant.quest_with_several_participants(rules)
    rules.execute(
        "select integrity.add_rule(%s, 'error', category, meaning) from integrity.rule where rule = %s", [RULE] * 2
    )
    found = rules.execute("select rule, severity from integrity.violations").fetchall()
    assert found == [(RULE, "error")]
    assert found == rules.execute("select rule, severity from integrity.audit()").fetchall()
