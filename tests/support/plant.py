"""Broken states, planted: one function per rule of the layer, each leaving one violation of that rule.

For databases without the law: before it is attached, or with it taken off. Tables are found through the search_path.
Everything goes into the connection's open transaction. Every call makes users and quests of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from tests.support import factory

_Connection = psycopg.Connection[Any]
DONE = datetime(2025, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Planted:
    """One violation: what its row in the rule's view has to say."""

    rule: str
    quest_id: int
    user_id: UUID | None = None
    application_id: int | None = None
    participant_id: int | None = None
    accompanied_by: frozenset[str] = frozenset()
    """Other rules that this state cannot but break too, once each."""

    @property
    def place(self) -> tuple[str, int, UUID | None, int | None, int | None]:
        """What identifies it among the rows of integrity.violations, as `PLACES` reads them."""
        return self.rule, self.quest_id, self.user_id, self.application_id, self.participant_id


PLACES = "select rule, quest_id, user_id, application_id, participant_id from integrity.violations"


def admit(connection: _Connection, quest_id: int, **columns: Any) -> tuple[UUID, int, int]:
    """Let a new user into a quest as the app should have: returns user, application and participant."""
    user_id = factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id, status="approved", reviewed_at=DONE)
    participant_id = factory.participant(connection, quest_id, user_id, **columns)
    return user_id, application_id, participant_id


def assign(connection: _Connection, quest_id: int, user_id: UUID | None) -> None:
    """Write a quest's assignee."""
    connection.execute("update quests_quest set assigned_to_id = %s where id = %s", [user_id, quest_id])


def quest_in_progress(connection: _Connection, **columns: Any) -> int:
    """Insert a sound quest in progress, with one approved participant, who is the assignee."""
    quest_id = factory.quest(connection, status="in-progress", **columns)
    assign(connection, quest_id, admit(connection, quest_id)[0])
    return quest_id


def sound_rows(connection: _Connection) -> None:
    """Insert a quest of every sound kind: nothing here breaks a rule, warnings included."""
    untouched = factory.quest(connection)
    factory.application(connection, untouched, factory.user(connection))
    quest_in_progress(connection)

    left = factory.quest(connection)
    gone = factory.user(connection)
    factory.application(connection, left, gone, status="kicked", reviewed_at=DONE)
    factory.participant(connection, left, gone, status="dropped")
    factory.application(connection, left, factory.user(connection), status="rejected", reviewed_at=DONE)

    completed = factory.quest(connection, status="completed", completed_at=DONE)
    assign(connection, completed, admit(connection, completed, status="completed", completed_at=DONE)[0])


def drop_participant_key(connection: _Connection) -> None:
    """Take away the app's unique key on participants, as a database has it that holds duplicates."""
    # A table cannot be altered while deferred checks of its rows are due.
    connection.execute("set constraints all immediate")
    connection.execute("set constraints all deferred")
    for (name,) in connection.execute(
        "select conname from pg_constraint"
        " where conrelid = 'quests_questparticipant'::regclass and contype = 'u' and cardinality(conkey) = 2"
    ).fetchall():
        connection.execute(
            sql.SQL("alter table quests_questparticipant drop constraint {}").format(sql.Identifier(name))
        )


def approved_without_participant(connection: _Connection) -> Planted:
    """An approval that created nobody, beside one that worked."""
    quest_id = quest_in_progress(connection)
    user_id = factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id, status="approved", reviewed_at=DONE)
    return Planted("approved_without_participant", quest_id, user_id, application_id)


def approved_with_dropped_participant(connection: _Connection) -> Planted:
    """The same rule's other case: the participant is there, but dropped."""
    quest_id = quest_in_progress(connection)
    user_id, application_id, participant_id = admit(connection, quest_id, status="dropped")
    return Planted("approved_without_participant", quest_id, user_id, application_id, participant_id)


def participant_without_approval(connection: _Connection) -> Planted:
    """Somebody who joined directly."""
    user_id = factory.user(connection)
    quest_id = factory.quest(connection, status="in-progress", assigned_to_id=user_id)
    participant_id = factory.participant(connection, quest_id, user_id)
    return Planted("participant_without_approval", quest_id, user_id, participant_id=participant_id)


def open_quest_with_participant(connection: _Connection) -> Planted:
    """An open quest that somebody takes part in; an approval of theirs would break another rule still."""
    user_id = factory.user(connection)
    quest_id = factory.quest(connection, assigned_to_id=user_id)
    participant_id = factory.participant(connection, quest_id, user_id)
    return Planted(
        "open_quest_with_participant",
        quest_id,
        user_id,
        participant_id=participant_id,
        accompanied_by=frozenset({"participant_without_approval"}),
    )


def unassigned_quest_with_participant(connection: _Connection) -> Planted:
    """A quest in progress that nobody is assigned to."""
    quest_id = factory.quest(connection, status="in-progress")
    user_id, _, participant_id = admit(connection, quest_id)
    return Planted("unassigned_quest_with_participant", quest_id, user_id, participant_id=participant_id)


def duplicate_participant(connection: _Connection) -> Planted:
    """The same user twice on one quest; the app's unique key goes for that."""
    drop_participant_key(connection)
    quest_id = factory.quest(connection, status="in-progress")
    user_id, _, participant_id = admit(connection, quest_id)
    factory.participant(connection, quest_id, user_id)
    assign(connection, quest_id, user_id)
    return Planted("duplicate_participant", quest_id, user_id, participant_id=participant_id)


def open_quest_with_approval(connection: _Connection) -> Planted:
    """SYNC-001: approved, and nothing happened."""
    quest_id = factory.quest(connection)
    user_id = factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id, status="approved", reviewed_at=DONE)
    return Planted(
        "open_quest_with_approval",
        quest_id,
        user_id,
        application_id,
        accompanied_by=frozenset({"approved_without_participant"}),
    )


def assignee_not_participant(connection: _Connection) -> Planted:
    """A quest assigned to somebody who never took part, while others do."""
    quest_id = quest_in_progress(connection)
    stranger = factory.user(connection)
    assign(connection, quest_id, stranger)
    return Planted("assignee_not_participant", quest_id, stranger)


def in_progress_without_participant(connection: _Connection) -> Planted:
    """A quest in progress without anybody."""
    return Planted("in_progress_without_participant", factory.quest(connection, status="in-progress"))


def duplicate_approval(connection: _Connection) -> Planted:
    """Two approved applications of one participant."""
    quest_id = factory.quest(connection, status="in-progress")
    user_id, application_id, _ = admit(connection, quest_id)
    factory.application(connection, quest_id, user_id, status="approved", reviewed_at=DONE)
    assign(connection, quest_id, user_id)
    return Planted("duplicate_approval", quest_id, user_id, application_id)


def duplicate_pending(connection: _Connection) -> Planted:
    """Two pending applications of one user."""
    quest_id = factory.quest(connection)
    user_id = factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id)
    factory.application(connection, quest_id, user_id)
    return Planted("duplicate_pending", quest_id, user_id, application_id)


def quest_with_several_participants(connection: _Connection) -> Planted:
    """A quest with two participants, both approved."""
    quest_id = quest_in_progress(connection)
    admit(connection, quest_id)
    return Planted("quest_with_several_participants", quest_id)


def completed_quest_unfinished(connection: _Connection) -> Planted:
    """A completed quest with a participant who is still at work."""
    quest_id = factory.quest(connection, status="completed", completed_at=DONE)
    user_id, _, participant_id = admit(connection, quest_id)
    assign(connection, quest_id, user_id)
    return Planted("completed_quest_unfinished", quest_id, user_id, participant_id=participant_id)


def completed_quest_without_time(connection: _Connection) -> Planted:
    """The same rule's other case: nobody is at work, but there is no completion time."""
    return Planted("completed_quest_unfinished", factory.quest(connection, status="completed"))


def unknown_status(connection: _Connection) -> Planted:
    """An application in a status that the app does not know."""
    quest_id = factory.quest(connection)
    user_id = factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id, status="archived")
    return Planted("unknown_status", quest_id, user_id, application_id)


def unknown_participant_status(connection: _Connection) -> Planted:
    """The same rule on a participant."""
    quest_id = factory.quest(connection, status="in-progress")
    user_id, _, participant_id = admit(connection, quest_id, status="paused")
    assign(connection, quest_id, user_id)
    return Planted("unknown_status", quest_id, user_id, participant_id=participant_id)


def unknown_quest_status(connection: _Connection) -> Planted:
    """The same rule on a quest."""
    return Planted("unknown_status", factory.quest(connection, status="archived"))


Plant = Callable[[_Connection], Planted]

RULES: dict[str, Plant] = {
    function.__name__: function
    for function in (
        approved_without_participant,
        participant_without_approval,
        open_quest_with_participant,
        unassigned_quest_with_participant,
        duplicate_participant,
        open_quest_with_approval,
        assignee_not_participant,
        in_progress_without_participant,
        duplicate_approval,
        duplicate_pending,
        completed_quest_unfinished,
        unknown_status,
    )
}

# Rules that are off until a project turns them on.
OFF: dict[str, Plant] = {"quest_with_several_participants": quest_with_several_participants}

VARIANTS: tuple[Plant, ...] = (
    approved_with_dropped_participant,
    completed_quest_without_time,
    unknown_participant_status,
    unknown_quest_status,
)


def everything(connection: _Connection) -> list[Planted]:
    """Plant every rule's violation once, and the variants, on rows of their own."""
    return [plant(connection) for plant in (*RULES.values(), *VARIANTS)]
