"""Participants without an approval: repaired on request only, by an approval or by the end of the participation."""

import json
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.support import cli, factory
from tests.support.proof import rows_of_app

_Connection = psycopg.Connection[Any]

RULE = "participant_without_approval"
FIX = ("audit", "--fix-issues", "--yes", "--rule", RULE)


@pytest.fixture
def quest(migrated: _Connection) -> int:
    """A quest that somebody has joined directly."""
    quest_id = factory.quest(migrated)
    factory.participant(migrated, quest_id, factory.user(migrated))
    migrated.commit()
    return quest_id


def _statuses(connection: _Connection, table: str, quest_id: int) -> list[str]:
    query = f"select status from {table} where quest_id = %s order by id"
    return [status for (status,) in connection.execute(query.encode(), [quest_id])]


def _state(connection: _Connection, quest_id: int) -> tuple[list[str], list[str], tuple[Any, ...] | None]:
    return (
        _statuses(connection, "applications_application", quest_id),
        _statuses(connection, "quests_questparticipant", quest_id),
        connection.execute(
            "select status, assigned_to_id is not null from quests_quest where id = %s", [quest_id]
        ).fetchone(),
    )


APPROVED = (["approved"], ["joined"], ("in-progress", True))
DROPPED: tuple[list[str], list[str], tuple[Any, ...]] = ([], ["dropped"], ("open", False))


@pytest.mark.parametrize(("answer", "expected"), [("approve", APPROVED), ("drop", DROPPED)])
def test_repaired_and_undone(answer: str, expected: object, quest: int, migrated: _Connection) -> None:
    before = rows_of_app(migrated)
    ran = cli.run(migrated, *FIX, "--unapproved", answer)
    assert ran.code == 0
    assert _state(migrated, quest) == expected
    assert migrated.execute(f"select from integrity.{RULE}".encode()).fetchall() == []
    assert cli.run(migrated, "undo", 1).code == 0
    assert rows_of_app(migrated) == before


def test_a_preview_changes_nothing(quest: int, migrated: _Connection) -> None:
    before = rows_of_app(migrated)
    ran = cli.run(migrated, *FIX, "--unapproved", "approve", "--dry-run", "--format", "json")
    assert ran.code == 0
    (new,) = [each for each in json.loads(ran.out)["changes"] if each["before"] is None]
    assert new["relation"] == "public.applications_application"
    assert (new["after"]["quest_id"], new["after"]["status"]) == (quest, "approved")
    assert rows_of_app(migrated) == before


def test_who_has_asked_gets_this_answer(quest: int, migrated: _Connection) -> None:
    (user_id,) = migrated.execute("select user_id from quests_questparticipant").fetchone() or (None,)
    assert user_id is not None
    for status in ("rejected", "pending", "pending"):
        factory.application(migrated, quest, user_id, status=status)
    assert cli.run(migrated, *FIX, "--unapproved", "approve").code == 0
    assert _statuses(migrated, "applications_application", quest) == ["rejected", "approved", "pending"]


def test_who_has_completed_the_quest(quest: int, migrated: _Connection) -> None:
    migrated.execute("update quests_questparticipant set status = 'completed'")
    assert cli.run(migrated, *FIX, "--unapproved", "approve").code == 0
    assert _state(migrated, quest)[:2] == (["approved"], ["completed"])


@pytest.mark.parametrize(
    "arguments",
    [
        FIX,
        (*FIX, "--rule", "duplicate_pending", "--unapproved", "drop"),
        ("audit", "--fix-issues", "--yes", "--unapproved", "drop"),
        ("audit", "--rule", RULE, "--unapproved", "drop"),
    ],
)
def test_only_on_request(arguments: tuple[str, ...], quest: int, migrated: _Connection) -> None:
    before = rows_of_app(migrated)
    ran = cli.run(migrated, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert f"--fix-issues --rule {RULE} --unapproved approve (" in ran.err
    assert rows_of_app(migrated) == before
    assert quest


def test_every_other_repair_leaves_it(quest: int, migrated: _Connection) -> None:
    before = _state(migrated, quest)
    assert cli.run(migrated, "audit", "--fix-issues", "--yes").code == 0
    assert _state(migrated, quest) == before
    migrated.execute("select integrity.plan_repair(1, null, null, null, null)")
    assert migrated.execute("select from integrity.repair_item").fetchall() == []


@pytest.mark.parametrize("options", [{"unapproved": "both"}, {"unapproved": None}])
def test_an_answer_that_is_none(options: dict[str, Any], quest: int, migrated: _Connection) -> None:
    key = migrated.execute(f"select key from integrity.{RULE}".encode()).fetchone()
    assert key is not None
    assert quest
    with pytest.raises(errors.InvalidParameterValue):
        migrated.execute("select integrity.repair_violation(%s, 'why', %s)", [key[0], Jsonb(options)])


def test_without_the_option_there_is_no_repair(quest: int, migrated: _Connection) -> None:
    key = migrated.execute(f"select key from integrity.{RULE}".encode()).fetchone()
    assert key is not None
    assert quest
    with pytest.raises(errors.NoDataFound):
        migrated.execute("select integrity.repair_violation(%s, 'why')", key)


@pytest.mark.parametrize("answer", ["approve", "drop"])
def test_by_an_operator(answer: str, quest: int, migrated: _Connection) -> None:
    """Who has no right on the app's rows: the owner of the layer has those that it takes."""
    migrated.execute("set role integrity_operator")
    key = migrated.execute(f"select key from integrity.{RULE}".encode()).fetchone()
    assert key is not None
    call = "select integrity.repair_violation(%s, 'why', %s)"
    assert migrated.execute(call, [key[0], Jsonb({"unapproved": answer})]).fetchone() == ("repaired",)
    migrated.execute("select integrity.start_undo(1, 'back')")
    while migrated.execute("select integrity.undo_batch(2, 10)").fetchone() != (0,):
        pass
    migrated.execute("reset role")
    assert migrated.execute("select outcome from integrity.repair_item where run = 2").fetchall() == [("undone",)]
    assert _state(migrated, quest) == ([], ["joined"], ("in-progress", True))


def test_a_column_that_cannot_be_empty_is_refused(quest: int, migrated: _Connection) -> None:
    """A reference of the app's that the layer knows nothing of."""
    migrated.execute(
        "alter table applications_application add column reviewer_id uuid not null references users_user (id)"
    )
    ran = cli.run(migrated, *FIX, "--unapproved", "approve")
    assert ran.code == 0
    assert migrated.execute("select outcome from integrity.repair_item").fetchall() == [("refused",)]
    assert _statuses(migrated, "applications_application", quest) == []


def test_an_undo_that_the_law_forbids_is_left(quest: int, migrated: _Connection) -> None:
    assert cli.run(migrated, *FIX, "--unapproved", "drop").code == 0
    assert cli.run(migrated, "enforce", RULE).code == 0
    before = rows_of_app(migrated)
    assert cli.run(migrated, "undo", 1).code == 1
    assert rows_of_app(migrated) == before
    assert quest
