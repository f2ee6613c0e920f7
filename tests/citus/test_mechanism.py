"""Every event of the mechanism on a distributed database, done where the quest is, and the law without it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlparse

from tests.citus.cluster import Cluster
from tests.django_app import database
from tests.mechanism.state import State, events, state
from tests.support import factory

database.setup()

from tests.django_app.errors import refused_by  # noqa: E402

_Connection = psycopg.Connection[Any]

APPROVED = "update applications_application set status = 'approved' where quest_id = %s and id = %s"


def _applied(connection: _Connection) -> tuple[int, UUID, int]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    return quest_id, user_id, factory.application(connection, quest_id, user_id)


def _approve(connection: _Connection) -> tuple[int, UUID, int]:
    quest_id, user_id, application_id = _applied(connection)
    connection.execute(APPROVED, [quest_id, application_id])
    return quest_id, user_id, application_id


def _in(user_id: UUID, application_id: int) -> State:
    return State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})


def _update(connection: _Connection, quest_id: int, user_id: UUID) -> int:
    application_id = factory.application(connection, quest_id, user_id)
    connection.execute(APPROVED, [quest_id, application_id])
    return application_id


def _insert(connection: _Connection, quest_id: int, user_id: UUID) -> int:
    return factory.application(connection, quest_id, user_id, status="approved")


def _bulk(connection: _Connection, quest_id: int, user_id: UUID) -> int:
    other = _applied(connection)
    application_id = factory.application(connection, quest_id, user_id)
    connection.execute(
        "update applications_application set status = 'approved' where quest_id = any(%s)", [[quest_id, other[0]]]
    )
    assert state(connection, other[0]) == _in(other[1], other[2])
    return application_id


def _copy(connection: _Connection, quest_id: int, user_id: UUID) -> int:
    columns = "status, applied_at, applicant_id, quest_id"
    with connection.cursor() as cursor, cursor.copy(f"copy applications_application ({columns}) from stdin") as copy:
        copy.write_row(("approved", "2025-01-01", user_id, quest_id))
    row = connection.execute("select id from applications_application where quest_id = %s", [quest_id]).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize("approve", [_update, _insert, _bulk, _copy])
def test_an_approval_makes_a_participant(shared: _Connection, approve: Callable[[Any, int, UUID], int]) -> None:
    quest_id, user_id = factory.quest(shared), factory.user(shared)

    application_id = approve(shared, quest_id, user_id)

    assert state(shared, quest_id) == _in(user_id, application_id)
    assert events(shared, quest_id) == ["application_approved"]


def test_a_kick_drops_the_participant(shared: _Connection) -> None:
    quest_id, user_id, application_id = _approve(shared)

    shared.execute("update applications_application set status = 'rejected' where quest_id = %s", [quest_id])

    assert state(shared, quest_id) == State("open", None, {application_id: "rejected"}, {user_id: "dropped"})
    assert events(shared, quest_id) == ["application_approved", "application_ended", "participant_dropped"]


@pytest.mark.parametrize(
    ("leaves", "left"),
    [
        ("update quests_questparticipant set status = 'dropped' where quest_id = %s", True),
        ("delete from quests_questparticipant where quest_id = %s", False),
    ],
)
def test_who_leaves_has_no_approval(shared: _Connection, leaves: Any, left: bool) -> None:
    quest_id, user_id, application_id = _approve(shared)

    shared.execute(leaves, [quest_id])

    assert state(shared, quest_id) == State(
        "open", None, {application_id: "kicked"}, {user_id: "dropped"} if left else {}
    )


def test_a_stale_save_is_corrected(shared: _Connection) -> None:
    quest_id, user_id, application_id = _approve(shared)

    shared.execute("update quests_quest set status = 'open', assigned_to_id = null where id = %s", [quest_id])

    assert state(shared, quest_id) == _in(user_id, application_id)
    assert events(shared, quest_id) == ["application_approved", "quest_write_corrected"]


def test_completed_and_deleted(shared: _Connection) -> None:
    quest_id, _, _ = _approve(shared)

    shared.execute("update quests_quest set status = 'completed', completed_at = now() where id = %s", [quest_id])
    assert state(shared, quest_id).status == "completed"
    with shared.transaction():
        for table in ("applications_application", "quests_questparticipant"):
            shared.execute(f"delete from {table} where quest_id = {quest_id}".encode())
        shared.execute("delete from quests_quest where id = %s", [quest_id])

    assert events(shared, quest_id)[-1] in {"participant_dropped", "application_ended"}


def test_an_approval_touches_one_shard(shared: _Connection) -> None:
    quest_id, _, application_id = _applied(shared)

    plan = shared.execute(
        "explain update applications_application set status = 'approved' "
        f"where quest_id = {quest_id} and id = {application_id}".encode()
    ).fetchall()

    assert any("Task Count: 1" in line for (line,) in plan)


def test_the_event_is_on_the_shard_of_its_quest_with_client_and_actor(cluster: Cluster, attached: str) -> None:
    with cluster.connect(attached) as session:
        quest_id, _, application_id = _applied(session)
        with session.transaction():
            session.execute("set local citus.propagate_set_commands = 'local'")
            session.execute("set local integrity.actor = 'anna'")
            session.execute("set local integrity.application_name = 'the app'")
            session.execute(APPROVED, [quest_id, application_id])
        placed = session.execute(
            "select get_shard_id_for_distribution_column('quests_quest', %s), "
            "get_shard_id_for_distribution_column('integrity.event', %s)",
            [quest_id, quest_id],
        ).fetchone()
        same = session.execute(
            "select count(distinct groupid) from pg_dist_placement where shardid = any(%s)", [list(placed or ())]
        ).fetchone()
        said = session.execute(
            "select actor, application_name from integrity.event where quest_id = %s", [quest_id]
        ).fetchall()

    assert same == (1,)
    assert said == [("anna", "the app")]


def test_the_mechanism_is_off_where_the_quest_is(cluster: Cluster, attached: str) -> None:
    with cluster.connect(attached) as session:
        quest_id, user_id, application_id = _applied(session)
        with session.transaction():
            session.execute("set local citus.propagate_set_commands = 'local'")
            session.execute("set local integrity.mechanism = off")
            session.execute(APPROVED, [quest_id, application_id])
            factory.participant(session, quest_id, user_id)
            session.execute(
                "update quests_quest set status = 'in-progress', assigned_to_id = %s where id = %s",
                [user_id, quest_id],
            )

        assert state(session, quest_id) == _in(user_id, application_id)
        assert events(session, quest_id) == ["mechanism_off"]


def _of_two_nodes(connection: _Connection) -> tuple[tuple[int, UUID, int], tuple[int, UUID, int]]:
    """Return applications to two quests on different nodes."""
    node = (
        "select placement.groupid from pg_dist_placement as placement "
        "where placement.shardid = get_shard_id_for_distribution_column('quests_quest', %s)"
    )
    first = _applied(connection)
    while True:
        second = _applied(connection)
        if connection.execute(node, [first[0]]).fetchone() != connection.execute(node, [second[0]]).fetchone():
            return first, second


def test_the_law_refuses_at_commit_on_all_nodes(cluster: Cluster, attached: str) -> None:
    with cluster.connect(attached) as session:
        (sound, _, sound_application), (broken, _, broken_application) = _of_two_nodes(session)

        def approve_both() -> None:
            with session.transaction():
                session.execute("set local citus.propagate_set_commands = 'local'")
                session.execute(APPROVED, [sound, sound_application])
                session.execute("set local integrity.mechanism = off")
                session.execute(APPROVED, [broken, broken_application])

        with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
            approve_both()

        assert refusal.value.sqlstate == "23503"
        assert refused_by(refusal.value) == "integrity_approved_application_has_participant"
        assert state(session, sound) == State("open", None, {sound_application: "pending"}, {})
        assert state(session, broken) == State("open", None, {broken_application: "pending"}, {})


def test_truncate_by_cascade_is_refused(shared: _Connection) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation):
        shared.execute("truncate quests_questparticipant cascade")


@pytest.mark.parametrize(
    "change", ["update integrity.event set actor = 'x'", "delete from integrity.event", "truncate integrity.event"]
)
def test_the_log_is_append_only(shared: _Connection, change: Any) -> None:
    _approve(shared)
    with pytest.raises(psycopg.errors.RestrictViolation):
        shared.execute(change)


def test_old_months_go(shared: _Connection) -> None:
    _approve(shared)

    assert shared.execute("select count(*) from integrity.retain_events('1 year')").fetchone() == (0,)


def test_the_statements_of_the_chapter_run(cluster: Cluster, attached: str) -> None:
    chapter = (Path(__file__).resolve().parents[2] / "docs" / "citus.md").read_text()
    (block,) = re.findall(r"^```sql\n(.*?)^```$", chapter, re.M | re.S)

    with cluster.connect(attached) as session:
        for statement in sqlparse.split(block):
            session.execute(statement.encode())
        assert session.execute("select recover_prepared_transactions()").fetchone() == (0,)
