"""Who left before the layer was attached must not come back: the app deletes their row, as if it had been lost.

Three of the app's own flows, then one whose participant was really lost, then the layer is attached.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pytest_postgresql.executors import NoopExecutor

from tests.django_app import database
from tests.django_app.flows import QuestParticipant, World
from tests.support.cli import Terminal, finish, run, spawn
from tests.support.database import prepared, url_of
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]
FIX = ("audit", "--fix-issues", "--yes")
CHOICE = "--missing-participant"
ANSWER = r"stop\]: ?$"


def _removed_by_the_owner(world: World) -> None:
    world.quest().remove_participant(world.user("ann"))


def _deleted(world: World) -> None:
    QuestParticipant.objects.get(quest=world.quest(), user=world.user("ann")).delete()


LEAVING: dict[str, Callable[[World], None]] = {
    "leave": lambda world: world.leave("ann"),
    "owner": _removed_by_the_owner,
    "delete": _deleted,
}


@dataclass(frozen=True)
class Left:
    """A quest that somebody left before the layer was attached."""

    quest: int
    username: str
    key: str


def _leave(connection: _Connection) -> list[Left]:
    """Adopt a database that three people have left, each in another way."""
    found = []
    with database.use(url_of(connection)):
        for leave in LEAVING.values():
            world = World()
            world.admit("ann")
            leave(world)
            key = f"approved_without_participant:application={world.application('ann').pk}"
            found.append(Left(world.quest().pk, world.user("ann").username, key))
    attach(connection)
    return found


@pytest.fixture
def adopted_and_left(app_only_server: NoopExecutor) -> Iterator[tuple[_Connection, list[Left]]]:
    """Yield an autocommit connection to such a database, and what was left."""
    with prepared(app_only_server, "left", _leave) as (connection, left):
        connection.autocommit = True
        yield connection, left


@pytest.fixture
def adopted(adopted_and_left: tuple[_Connection, list[Left]]) -> _Connection:
    return adopted_and_left[0]


@pytest.fixture
def left(adopted_and_left: tuple[_Connection, list[Left]]) -> list[Left]:
    return adopted_and_left[1]


def participants(connection: _Connection) -> int:
    return one(connection, "select count(*) from quests_questparticipant")


def approvals(connection: _Connection) -> list[str]:
    return [status for (status,) in connection.execute("select status from applications_application order by id")]


def outcomes(connection: _Connection) -> dict[str, int]:
    return dict(connection.execute("select outcome, count(*) from integrity.repair_item group by outcome").fetchall())


def one(connection: _Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def lose(connection: _Connection) -> int:
    """Approve with the layer attached, then lose the participant behind its back; returns the quest's id."""
    with database.use(url_of(connection)):
        world = World()
        world.admit("ann")
    connection.execute("set session_replication_role = replica")
    connection.execute("delete from quests_questparticipant where quest_id = %s", [world.quest_ids[0]])
    connection.execute("reset session_replication_role")
    return world.quest_ids[0]


def test_nobody_comes_back_unless_asked(adopted: _Connection, left: list[Left]) -> None:
    # --yes is no answer, with or without somebody at a terminal.
    ran = finish(spawn(url_of(adopted), *FIX))
    assert (ran.code, ran.out) == (2, "")
    said = ran.err.splitlines()[-1]
    assert said.startswith("error: 3 approved applications ")
    assert all(part in said for part in (CHOICE, "create", "revoke"))
    assert (participants(adopted), outcomes(adopted)) == (0, {})

    # A preview says why it leaves them, a plain audit is as ever.
    preview = run(adopted, "audit", "--fix-issues", "--dry-run")
    assert (preview.code, "3 approved applications" in preview.err, "undecided" in preview.out) == (1, True, True)
    assert "new row" not in preview.out
    assert run(adopted, "audit").code == 1

    # Each as a person says, by quest, by user, or so many.
    assert run(adopted, *FIX, CHOICE, "create", "--quest", left[0].quest).code == 0
    assert run(adopted, *FIX, CHOICE, "revoke", "--user", left[1].username).code == 0
    assert approvals(adopted) == ["approved", "kicked", "approved"]
    assert run(adopted, *FIX, "--limit", 1).code == 2
    assert run(adopted, *FIX, CHOICE, "revoke", "--limit", 1).code == 0
    assert approvals(adopted) == ["approved", "kicked", "kicked"]
    assert participants(adopted) == 1
    # Nothing is left to decide.
    assert run(adopted, *FIX).code == 0
    assert participants(adopted) == 1
    # Who takes a revocation back asks for somebody.
    revoked = one(adopted, "select max(run) from integrity.repair_item where rule = 'approved_without_participant'")
    run(adopted, "undo", revoked)
    assert (participants(adopted), approvals(adopted)) == (2, ["approved", "kicked", "approved"])


def test_a_person_is_asked_with_counts(adopted: _Connection, left: list[Left]) -> None:
    lost = lose(adopted)
    for answer, code in (("", 2), ("stop", 2), ("\x04", 2)):
        terminal = Terminal(url_of(adopted), *FIX, environment={"COLUMNS": "80"})
        terminal.expect(ANSWER)
        question = terminal.text.partition("--database-url)")[2]
        assert "3 approved applications" in question
        assert "Of 4 without a participant" in question
        assert max(map(len, question.splitlines())) <= 80
        assert terminal.answer(answer) == code
    assert (participants(adopted), outcomes(adopted)) == (0, {})

    # Not for a preview, not of a quest or rule that has none, and the answer is not yet the permission.
    assert Terminal(url_of(adopted), "audit", "--fix-issues", "--dry-run").finish() == 1
    assert Terminal(url_of(adopted), *FIX, "--rule", "duplicate_participant").finish() == 0
    assert Terminal(url_of(adopted), *FIX, "--quest", lost).finish() == 0
    assert participants(adopted) == 1
    terminal = Terminal(url_of(adopted), "audit", "--fix-issues")
    terminal.expect(ANSWER)
    assert terminal.answer("revoke\ny") == 0
    assert approvals(adopted) == ["kicked", "kicked", "kicked", "approved"]
    assert one(adopted, "select options from integrity.repair_run order by id desc limit 1") == {
        "missing_participant": "revoke"
    }


def test_in_sql_nobody_comes_back_either(adopted: _Connection, left: list[Left]) -> None:
    lost = lose(adopted)
    assert one(adopted, "select count(*) from integrity.unvouched_approval") == 3
    run_id = one(adopted, "select integrity.start_repair('by hand', '{}')")
    while one(adopted, "select integrity.plan_repair(%s, null, null, null, null)", run_id):
        while one(adopted, "select integrity.repair_batch(%s, 2)", run_id):
            pass
    assert [quest for (quest,) in adopted.execute("select quest_id from quests_questparticipant")] == [lost]
    undecided = "select key from integrity.repair_item where outcome = 'undecided' order by key"
    assert [key for (key,) in adopted.execute(undecided)] == sorted(each.key for each in left)

    # The quest is not the approval, but there is nothing else to derive it from.
    adopted.execute("set session_replication_role = replica")
    adopted.execute("update quests_quest set status = 'open', assigned_to_id = null, integrity_assigned = null")
    adopted.execute("reset session_replication_role")
    for key in (left[0].key, f"open_quest_with_approval:quest={left[0].quest}"):
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refusal:
            adopted.execute("select integrity.repair_violation(%s, 'by hand')", [key])
        assert "missing_participant" in str(refusal.value.diag.message_hint)
    assert approvals(adopted)[:3] == ["approved"] * 3

    # Explain shows both.
    explained = run(adopted, "explain", left[0].key).out.splitlines()
    create, revoke = [line for line in explained if line.startswith("select integrity.repair_violation")]
    assert ("create" in create, "revoke" in revoke) == (True, True)
    assert adopted.execute(revoke.encode()).fetchall() == [("repaired",)]
    assert approvals(adopted)[0] == "kicked"
    # An option that there is not is no answer.
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        adopted.execute("select integrity.repair_violation(%s, '', %s)", [left[1].key, Jsonb({"missing": "create"})])


def test_what_vouches_is_the_last_word_of_the_log(adopted: _Connection, left: list[Left]) -> None:
    """Not the approval of somebody who has left since, and not one whose event is gone."""
    quest = lose(adopted)
    unvouched = "select count(*) from integrity.unvouched_approval where quest_id = %s"
    assert one(adopted, unvouched, quest) == 0
    # Whoever repairs without a choice has today's default.
    assert run(adopted, *FIX, "--quest", quest).code == 0
    assert participants(adopted) == 1

    # Left, as the log says; the application is approved again behind the layer's back.
    adopted.execute("delete from quests_questparticipant where quest_id = %s", [quest])
    adopted.execute("set session_replication_role = replica")
    adopted.execute(
        "update applications_application set status = 'approved', integrity_approved = true where quest_id = %s",
        [quest],
    )
    adopted.execute("reset session_replication_role")
    assert one(adopted, unvouched, quest) == 1
    assert run(adopted, *FIX, "--quest", quest).code == 2

    # An event that the retention has dropped vouches no more.
    old = lose(adopted)
    assert one(adopted, unvouched, old) == 0
    adopted.execute("alter table integrity.event disable trigger integrity_append_only")
    adopted.execute("delete from integrity.event where quest_id = %s", [old])
    assert one(adopted, unvouched, old) == 1


def test_the_report_says_why(adopted: _Connection, left: list[Left], tmp_path: Any) -> None:
    page = tmp_path / "report.html"
    assert run(adopted, "report", "--html", page).code == 0
    text = page.read_text()
    assert "--missing-participant" in text
    assert text.count("a person decides: create or revoke") == 3
