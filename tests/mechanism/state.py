"""What a quest looks like after a write, read from the app's own columns."""

from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tests.support import factory

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class State:
    """A quest with everybody on it.

    Args:
        status: The quest's.
        assignee: Its `assigned_to_id`.
        applications: Statuses by application.
        participants: Statuses by user.
    """

    status: str
    assignee: UUID | None
    applications: dict[int, str] = field(default_factory=dict)
    participants: dict[UUID, str] = field(default_factory=dict)


def state(connection: _Connection, quest_id: int) -> State:
    """Read a quest's state; where a user has two participants here the last counts."""
    quest = one(connection, "select status, assigned_to_id from quests_quest where id = %s", quest_id)
    applications = connection.execute(
        "select id, status from applications_application where quest_id = %s", [quest_id]
    ).fetchall()
    participants = connection.execute(
        "select user_id, status from quests_questparticipant where quest_id = %s order by id", [quest_id]
    ).fetchall()
    return State(quest["status"], quest["assigned_to_id"], dict(applications), dict(participants))


def one(connection: _Connection, query: LiteralString, *parameters: Any) -> dict[str, Any]:
    """Read the single row of a query."""
    with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(query, parameters).fetchall()
    return row


def participant(connection: _Connection, quest_id: int, user_id: UUID) -> dict[str, Any]:
    """Read a participant's row."""
    return one(
        connection, "select * from quests_questparticipant where quest_id = %s and user_id = %s", quest_id, user_id
    )


def application(connection: _Connection, application_id: int) -> dict[str, Any]:
    """Read an application's row."""
    return one(connection, "select * from applications_application where id = %s", application_id)


def version(connection: _Connection, table: LiteralString, row_id: int) -> tuple[Any, ...]:
    """Identify the row version: it differs after any UPDATE, even one that changes nothing."""
    found = connection.execute(f"select ctid::text, xmin::text from {table} where id = %s", [row_id]).fetchone()
    assert found is not None
    return tuple(found)


def events(connection: _Connection, quest_id: int) -> list[str]:
    """Read the kinds of a quest's events, sorted: two of one transaction have the same time.

    Direct joins are left out: whether a join was an approval's is for the tests of the event log itself.
    """
    found = connection.execute(
        "select kind from integrity.event where quest_id = %s and kind <> 'participant_joined' order by kind",
        [quest_id],
    )
    return [kind for (kind,) in found]


def assert_sound(connection: _Connection) -> None:
    """Commit, and make sure that the proof finds no error."""
    connection.commit()
    found = connection.execute("select rule, message from integrity.violations where severity = 'error'").fetchall()
    assert found == []
    connection.rollback()


def admit(connection: _Connection, quest_id: int, status: str = "joined") -> tuple[UUID, int, int]:
    """Let a new user in by approval; returns user, application and participant."""
    user_id = factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id, status="approved")
    participant_id = participant(connection, quest_id, user_id)["id"]
    if status != "joined":
        connection.execute("update quests_questparticipant set status = %s where id = %s", [status, participant_id])
    return user_id, application_id, participant_id
