"""Broken states, one function each: what is written before the `yield` is lawful, what comes after it is not.

The writes take nothing from the triggers: markers are written by hand, and every row that the law wants is there.
So they do the same with the triggers disabled, and each state breaks the constraint it is listed under and, but for
markers that are FALSE, no other. Where the triggers run, they may heal the state instead; a case says which.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from tests.support import factory, plant

_Connection = psycopg.Connection[Any]
Steps = Callable[[_Connection], Iterator[None]]

APPROVED_HAS_PARTICIPANT = "integrity_approved_application_has_participant"
ASSIGNEE_IS_PARTICIPANT = "integrity_assignee_is_participant"
PARTICIPANT_HAS_ASSIGNED_QUEST = "integrity_participant_has_assigned_quest"
STATUS_MATCHES_ASSIGNMENT = "integrity_status_matches_assignment"
APPLICATION_MARKER = "integrity_application_marker"
PARTICIPANT_MARKER = "integrity_participant_marker"
QUEST_MARKER = "integrity_quest_marker"
APPLICATION_STATUS_KNOWN = "integrity_application_status_known"
PARTICIPANT_STATUS_KNOWN = "integrity_participant_status_known"
QUEST_STATUS_KNOWN = "integrity_quest_status_known"
APPROVED_APPLICATION_KEY = "integrity_approved_application_key"
ACTIVE_PARTICIPANT_KEY = "integrity_active_participant_key"
PARTICIPANT_KEY = "integrity_participant_key"
QUEST_KEY = "integrity_quest_key"

TABLES = ("applications_application", "quests_questparticipant", "quests_quest")


@dataclass(frozen=True)
class Case:
    """One broken state.

    Args:
        steps: Writes it.
        constraint: Refuses it.
        rules: Rules of the proof whose violation it would be.
        healed: With the triggers enabled it is put right instead of refused.
        behind: The constraint that would refuse it if the first one did not.
    """

    steps: Steps
    constraint: str
    rules: frozenset[str]
    healed: bool
    behind: str | None

    @property
    def name(self) -> str:
        return self.steps.__name__


CASES: list[Case] = []


def breaks(constraint: str, *rules: str, healed: bool, behind: str | None = None) -> Callable[[Steps], Steps]:
    """List a function as a case."""

    def listed(steps: Steps) -> Steps:
        CASES.append(Case(steps, constraint, frozenset(rules), healed, behind))
        return steps

    return listed


def approved(connection: _Connection, quest_id: int, applicant_id: UUID) -> int:
    return factory.application(connection, quest_id, applicant_id, status="approved", integrity_approved=True)


def joined(connection: _Connection, quest_id: int, user_id: UUID, **columns: Any) -> int:
    return factory.participant(connection, quest_id, user_id, **({"integrity_active": True} | columns))


def write(connection: _Connection, table: str, row_id: int, **columns: Any) -> None:
    """Update columns of one row."""
    connection.execute(
        sql.SQL("update {} set {} where id = %s").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns),
        ),
        [*columns.values(), row_id],
    )


def write_quest(connection: _Connection, quest_id: int, status: str, assignee: UUID | None) -> None:
    write(
        connection,
        "quests_quest",
        quest_id,
        status=status,
        assigned_to_id=assignee,
        integrity_assigned=True if assignee else None,
    )


def write_application(connection: _Connection, application_id: int, **columns: Any) -> None:
    write(connection, "applications_application", application_id, **columns)


def write_participant(connection: _Connection, participant_id: int, **columns: Any) -> None:
    write(connection, "quests_questparticipant", participant_id, **columns)


def delete_participant(connection: _Connection, participant_id: int) -> None:
    connection.execute("delete from quests_questparticipant where id = %s", [participant_id])


def taken_quest(connection: _Connection, status: str = "in-progress") -> tuple[int, UUID, int]:
    """Insert a sound quest with a participant who joined directly: returns quest, user and participant."""
    quest_id = factory.quest(connection)
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id)
    write_quest(connection, quest_id, status, user_id)
    return quest_id, user_id, participant_id


def admitted(connection: _Connection, quest_id: int) -> tuple[UUID, int, int]:
    """Let one more user into a taken quest: returns user, participant and approved application."""
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id)
    return user_id, participant_id, approved(connection, quest_id, user_id)


# An approved application has an active participant.


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", "open_quest_with_approval", healed=True)
def application_inserted_as_approved(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    yield
    approved(connection, quest_id, user_id)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", "open_quest_with_approval", healed=True)
def application_updated_to_approved(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id)
    yield
    write_application(connection, application_id, status="approved", integrity_approved=True)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", healed=True)
def application_approved_while_participant_is_dropped(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    joined(connection, quest_id, user_id, status="dropped", integrity_active=None)
    yield
    approved(connection, quest_id, user_id)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", healed=True)
def participant_deleted_under_approval(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    _, participant_id, _ = admitted(connection, quest_id)
    yield
    delete_participant(connection, participant_id)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", healed=True)
def participant_dropped_under_approval(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    _, participant_id, _ = admitted(connection, quest_id)
    yield
    write_participant(connection, participant_id, status="dropped", integrity_active=None)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", healed=True)
def participant_moved_to_another_quest_under_approval(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    elsewhere, _, _ = taken_quest(connection)
    _, participant_id, _ = admitted(connection, quest_id)
    yield
    write_participant(connection, participant_id, quest_id=elsewhere)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", healed=True)
def participant_given_to_another_user_under_approval(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    _, participant_id, _ = admitted(connection, quest_id)
    other = factory.user(connection)
    yield
    write_participant(connection, participant_id, user_id=other)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", healed=True)
def approved_application_moved_to_another_quest(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    elsewhere, _, _ = taken_quest(connection)
    _, _, application_id = admitted(connection, quest_id)
    yield
    write_application(connection, application_id, quest_id=elsewhere)


@breaks(APPROVED_HAS_PARTICIPANT, "approved_without_participant", healed=True)
def approved_application_given_to_another_user(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    _, _, application_id = admitted(connection, quest_id)
    other = factory.user(connection)
    yield
    write_application(connection, application_id, applicant_id=other)


# A quest is assigned to one of its active participants.


@breaks(ASSIGNEE_IS_PARTICIPANT, "assignee_not_participant", "in_progress_without_participant", healed=True)
def quest_inserted_as_taken(connection: _Connection) -> Iterator[None]:
    user_id = factory.user(connection)
    yield
    factory.quest(connection, status="in-progress", assigned_to_id=user_id, integrity_assigned=True)


@breaks(ASSIGNEE_IS_PARTICIPANT, "assignee_not_participant", healed=True)
def quest_assigned_to_a_stranger(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    stranger = factory.user(connection)
    yield
    write_quest(connection, quest_id, "in-progress", stranger)


@breaks(ASSIGNEE_IS_PARTICIPANT, "assignee_not_participant", healed=True)
def completed_quest_assigned_to_a_stranger(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection, status="completed")
    stranger = factory.user(connection)
    yield
    write_quest(connection, quest_id, "completed", stranger)


@breaks(ASSIGNEE_IS_PARTICIPANT, "assignee_not_participant", healed=True)
def assignee_dropped(connection: _Connection) -> Iterator[None]:
    quest_id, _, participant_id = taken_quest(connection)
    admitted(connection, quest_id)
    yield
    write_participant(connection, participant_id, status="dropped", integrity_active=None)


@breaks(ASSIGNEE_IS_PARTICIPANT, "in_progress_without_participant", healed=True)
def assignee_deleted(connection: _Connection) -> Iterator[None]:
    _, _, participant_id = taken_quest(connection)
    yield
    delete_participant(connection, participant_id)


# A quest with active participants is assigned.


@breaks(
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    "open_quest_with_participant",
    "unassigned_quest_with_participant",
    healed=True,
)
def participant_inserted_on_an_open_quest(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    yield
    joined(connection, quest_id, user_id)


@breaks(
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    "open_quest_with_participant",
    "open_quest_with_approval",
    "unassigned_quest_with_participant",
    healed=True,
)
def participant_and_approval_on_an_open_quest(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    yield
    joined(connection, quest_id, user_id)
    approved(connection, quest_id, user_id)


@breaks(PARTICIPANT_HAS_ASSIGNED_QUEST, "open_quest_with_participant", healed=True)
def dropped_participant_back_on_an_open_quest(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    participant_id = joined(connection, quest_id, user_id, status="dropped", integrity_active=None)
    yield
    write_participant(connection, participant_id, status="joined", integrity_active=True)


@breaks(
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    "open_quest_with_participant",
    "unassigned_quest_with_participant",
    healed=True,
)
def taken_quest_reopened(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    yield
    write_quest(connection, quest_id, "open", None)


@breaks(PARTICIPANT_HAS_ASSIGNED_QUEST, "unassigned_quest_with_participant", healed=True)
def completed_quest_unassigned(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection, status="completed")
    yield
    write_quest(connection, quest_id, "completed", None)


# Not completed: in-progress exactly when assigned.


@breaks(STATUS_MATCHES_ASSIGNMENT, "in_progress_without_participant", healed=True)
def quest_inserted_in_progress(connection: _Connection) -> Iterator[None]:
    yield
    factory.quest(connection, status="in-progress")


@breaks(STATUS_MATCHES_ASSIGNMENT, "in_progress_without_participant", healed=True)
def open_quest_started(connection: _Connection) -> Iterator[None]:
    quest_id = factory.quest(connection)
    yield
    write_quest(connection, quest_id, "in-progress", None)


@breaks(STATUS_MATCHES_ASSIGNMENT, "open_quest_with_participant", "open_quest_with_approval", healed=True)
def assigned_quest_opened(connection: _Connection) -> Iterator[None]:
    quest_id, user_id, _ = taken_quest(connection)
    approved(connection, quest_id, user_id)
    yield
    write_quest(connection, quest_id, "open", user_id)


@breaks(STATUS_MATCHES_ASSIGNMENT, "in_progress_without_participant", healed=True)
def completed_quest_without_participants_resumed(connection: _Connection) -> Iterator[None]:
    quest_id = factory.quest(connection, status="completed")
    yield
    write_quest(connection, quest_id, "in-progress", None)


# The markers equal their definition: a write that skips the triggers fails closed.


@breaks(APPLICATION_MARKER, healed=True)
def approved_application_inserted_without_marker(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    yield
    factory.application(connection, quest_id, user_id, status="approved")


@breaks(APPLICATION_MARKER, healed=True, behind=APPROVED_HAS_PARTICIPANT)
def approved_application_marked_false(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    yield
    factory.application(connection, quest_id, user_id, status="approved", integrity_approved=False)


@breaks(APPLICATION_MARKER, healed=True)
def pending_application_marked(connection: _Connection) -> Iterator[None]:
    quest_id, user_id, _ = taken_quest(connection)
    yield
    factory.application(connection, quest_id, user_id, integrity_approved=True)


@breaks(APPLICATION_MARKER, healed=True, behind=APPROVED_HAS_PARTICIPANT)
def pending_application_marked_false(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    yield
    factory.application(connection, quest_id, user_id, integrity_approved=False)


@breaks(APPLICATION_MARKER, healed=True)
def application_approved_without_marker(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id)
    yield
    write_application(connection, application_id, status="approved")


@breaks(APPLICATION_MARKER, healed=True)
def application_unmarked_while_approved(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    _, _, application_id = admitted(connection, quest_id)
    yield
    write_application(connection, application_id, integrity_approved=None)


@breaks(APPLICATION_MARKER, healed=True)
def application_ended_without_marker(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    _, _, application_id = admitted(connection, quest_id)
    yield
    write_application(connection, application_id, status="kicked")


@breaks(PARTICIPANT_MARKER, healed=True)
def participant_inserted_without_marker(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    yield
    factory.participant(connection, quest_id, user_id)


@breaks(PARTICIPANT_MARKER, healed=True, behind=PARTICIPANT_HAS_ASSIGNED_QUEST)
def participant_marked_false(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    yield
    factory.participant(connection, quest_id, user_id, integrity_active=False)


@breaks(PARTICIPANT_MARKER, healed=True)
def dropped_participant_inserted_with_marker(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    yield
    factory.participant(connection, quest_id, user_id, status="dropped", integrity_active=True)


@breaks(PARTICIPANT_MARKER, healed=True)
def participant_unmarked_while_active(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    participant_id = joined(connection, quest_id, factory.user(connection))
    yield
    write_participant(connection, participant_id, integrity_active=None)


@breaks(PARTICIPANT_MARKER, healed=True)
def participant_dropped_without_marker(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    participant_id = joined(connection, quest_id, factory.user(connection))
    yield
    write_participant(connection, participant_id, status="dropped")


@breaks(PARTICIPANT_MARKER, healed=True)
def dropped_participant_back_without_marker(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id, status="dropped", integrity_active=None)
    yield
    write_participant(connection, participant_id, status="joined")


@breaks(QUEST_MARKER, healed=True)
def quest_inserted_assigned_without_marker(connection: _Connection) -> Iterator[None]:
    user_id = factory.user(connection)
    yield
    factory.quest(connection, status="in-progress", assigned_to_id=user_id)


@breaks(QUEST_MARKER, healed=True)
def open_quest_marked(connection: _Connection) -> Iterator[None]:
    quest_id = factory.quest(connection)
    yield
    write(connection, "quests_quest", quest_id, integrity_assigned=True)


@breaks(QUEST_MARKER, healed=True)
def open_quest_marked_false(connection: _Connection) -> Iterator[None]:
    quest_id = factory.quest(connection)
    yield
    write(connection, "quests_quest", quest_id, integrity_assigned=False)


@breaks(QUEST_MARKER, healed=True)
def quest_unmarked_while_assigned(connection: _Connection) -> Iterator[None]:
    quest_id = factory.quest(connection, status="completed")
    user_id = factory.user(connection)
    yield
    write(connection, "quests_quest", quest_id, assigned_to_id=user_id)


@breaks(QUEST_MARKER, healed=True)
def quest_unassigned_without_marker(connection: _Connection) -> Iterator[None]:
    quest_id, _, participant_id = taken_quest(connection)
    yield
    delete_participant(connection, participant_id)
    write(connection, "quests_quest", quest_id, status="open", assigned_to_id=None)


# Every status is one of the app's values.


@breaks(APPLICATION_STATUS_KNOWN, "unknown_status", healed=False)
def application_inserted_with_unknown_status(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    yield
    factory.application(connection, quest_id, user_id, status="Approved")


@breaks(APPLICATION_STATUS_KNOWN, "unknown_status", healed=False)
def application_updated_to_unknown_status(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id)
    yield
    write_application(connection, application_id, status="")


@breaks(PARTICIPANT_STATUS_KNOWN, "unknown_status", healed=False)
def participant_inserted_with_unknown_status(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    yield
    joined(connection, quest_id, user_id, status="in-progress")


@breaks(PARTICIPANT_STATUS_KNOWN, "unknown_status", healed=False)
def participant_updated_to_unknown_status(connection: _Connection) -> Iterator[None]:
    _, _, participant_id = taken_quest(connection)
    yield
    write_participant(connection, participant_id, status="left")


@breaks(QUEST_STATUS_KNOWN, "unknown_status", healed=False)
def quest_inserted_with_unknown_status(connection: _Connection) -> Iterator[None]:
    yield
    factory.quest(connection, status="in_progress")


@breaks(QUEST_STATUS_KNOWN, "unknown_status", healed=False)
def quest_updated_to_unknown_status(connection: _Connection) -> Iterator[None]:
    quest_id, user_id, _ = taken_quest(connection)
    yield
    write_quest(connection, quest_id, "archived", user_id)


# One approved application per quest and applicant.


@breaks(APPROVED_APPLICATION_KEY, "duplicate_approval", healed=False)
def second_approval_inserted(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id, _, _ = admitted(connection, quest_id)
    yield
    approved(connection, quest_id, user_id)


@breaks(APPROVED_APPLICATION_KEY, "duplicate_approval", healed=False)
def second_application_approved(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id, _, _ = admitted(connection, quest_id)
    application_id = factory.application(connection, quest_id, user_id)
    yield
    write_application(connection, application_id, status="approved", integrity_approved=True)


@breaks(APPROVED_APPLICATION_KEY, "duplicate_approval", healed=False)
def approval_moved_to_where_one_is(connection: _Connection) -> Iterator[None]:
    quest_id, _, _ = taken_quest(connection)
    user_id, _, _ = admitted(connection, quest_id)
    elsewhere, _, _ = taken_quest(connection)
    joined(connection, elsewhere, user_id)
    application_id = approved(connection, elsewhere, user_id)
    yield
    write_application(connection, application_id, quest_id=quest_id)


# No duplicate participants, and the keys that the foreign keys point at.


@breaks(ACTIVE_PARTICIPANT_KEY, "duplicate_participant", healed=False)
def participant_inserted_twice_without_the_apps_key(connection: _Connection) -> Iterator[None]:
    plant.drop_participant_key(connection)
    quest_id, user_id, _ = taken_quest(connection)
    yield
    joined(connection, quest_id, user_id)


@breaks(QUEST_KEY, healed=False)
def quest_inserted_twice_without_its_primary_key(connection: _Connection) -> Iterator[None]:
    connection.execute("alter table quests_quest drop constraint if exists quests_quest_pkey cascade")
    quest_id, user_id, _ = taken_quest(connection)
    yield
    factory.quest(connection, id=quest_id, status="in-progress", assigned_to_id=user_id, integrity_assigned=True)
