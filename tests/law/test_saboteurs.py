"""Somebody's own triggers that undo what the mechanism does: the law still stands, with all triggers enabled.

Triggers of one event run in the order of their names: `aaa` before ours, `zzz` after.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.law.cases import (
    APPLICATION_MARKER,
    APPLICATION_STATUS_KNOWN,
    APPROVED_HAS_PARTICIPANT,
    ASSIGNEE_IS_PARTICIPANT,
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    PARTICIPANT_MARKER,
    PARTICIPANT_STATUS_KNOWN,
    QUEST_MARKER,
    QUEST_STATUS_KNOWN,
    STATUS_MATCHES_ASSIGNMENT,
    delete_participant,
    joined,
    taken_quest,
    write,
    write_application,
    write_participant,
)
from tests.law.refusal import Refusal, expected_refusal, rules_broken
from tests.support import factory

_Connection = psycopg.Connection[Any]
Write = Callable[[_Connection], object]

APPLICATION, PARTICIPANT, QUEST = "applications_application", "quests_questparticipant", "quests_quest"


LATER = datetime(2026, 1, 1, tzinfo=UTC)
AN_OPEN_QUEST = "(select min(id) from public.quests_quest where status = 'open')"


def install(connection: _Connection, name: str, table: str, event: str, body: str) -> None:
    """Create a row trigger of the app's own that runs these PL/pgSQL statements."""
    connection.execute(
        sql.SQL(
            "create function {name}() returns trigger language plpgsql as {body};"
            "create trigger {name} {event} on {table} for each row execute function {name}()"
        ).format(
            name=sql.Identifier(name),
            body=sql.Literal(f"begin {body} end"),
            event=sql.SQL(event),  # type: ignore[arg-type]
            table=sql.Identifier(table),
        )
    )


def approve_somebody(connection: _Connection) -> Write:
    quest_id, _, _ = taken_quest(connection)
    application_id = factory.application(connection, quest_id, factory.user(connection))
    return lambda session: write_application(session, application_id, status="approved")


def approve_somebody_dropped(connection: _Connection) -> Write:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    factory.participant(connection, quest_id, user_id, status="dropped")
    application_id = factory.application(connection, quest_id, user_id)
    return lambda session: write_application(session, application_id, status="approved")


def apply(connection: _Connection) -> Write:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    return lambda session: factory.application(session, quest_id, user_id)


def reject(connection: _Connection) -> Write:
    application_id = factory.application(connection, factory.quest(connection), factory.user(connection))
    return lambda session: write_application(session, application_id, status="rejected")


def admitted_participant(connection: _Connection) -> int:
    quest_id, user_id, participant_id = taken_quest(connection)
    factory.application(connection, quest_id, user_id, status="approved")
    return participant_id


def leave(connection: _Connection) -> Write:
    participant_id = admitted_participant(connection)
    return lambda session: delete_participant(session, participant_id)


def drop(connection: _Connection) -> Write:
    participant_id = admitted_participant(connection)
    return lambda session: write_participant(session, participant_id, status="dropped")


def work(connection: _Connection) -> Write:
    _, _, participant_id = taken_quest(connection)
    return lambda session: write_participant(session, participant_id, status="in_progress")


def review(connection: _Connection) -> Write:
    application_id = factory.application(connection, factory.quest(connection), factory.user(connection))
    return lambda session: write_application(session, application_id, reviewed_at=LATER)


def review_approved(connection: _Connection) -> Write:
    factory.quest(connection)
    quest_id, user_id, _ = taken_quest(connection)
    application_id = factory.application(connection, quest_id, user_id, status="approved")
    return lambda session: write_application(session, application_id, reviewed_at=LATER)


def take_notes(connection: _Connection) -> Write:
    factory.quest(connection)
    quest_id, _, _ = taken_quest(connection)
    participant_id = joined(connection, quest_id, factory.user(connection))
    return lambda session: write_participant(session, participant_id, progress_notes="half way")


def rename(connection: _Connection) -> Write:
    quest_id, _, _ = taken_quest(connection)
    return lambda session: write(session, QUEST, quest_id, title="Renamed")


def join(connection: _Connection) -> Write:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    return lambda session: factory.participant(session, quest_id, user_id)


@dataclass(frozen=True)
class Sabotage:
    """A trigger, a lawful write that it spoils, and the constraint that says so.

    Args:
        about: What the trigger does.
        constraint: What refuses the result.
        trigger: Name, table, event and statements.
        prepare: Makes the rows, before the trigger exists; returns the write.
    """

    about: str
    constraint: str
    trigger: tuple[str, str, str, str]
    prepare: Callable[[_Connection], Write]


SABOTAGES = (
    Sabotage(
        "swallows the new participant",
        APPROVED_HAS_PARTICIPANT,
        ("zzz", PARTICIPANT, "before insert", "return null;"),
        approve_somebody,
    ),
    Sabotage(
        "swallows the return of a dropped participant",
        APPROVED_HAS_PARTICIPANT,
        ("zzz", PARTICIPANT, "before update", "return null;"),
        approve_somebody_dropped,
    ),
    Sabotage(
        "keeps the application of a deleted participant approved",
        APPROVED_HAS_PARTICIPANT,
        ("zzz", APPLICATION, "before update", "return null;"),
        leave,
    ),
    Sabotage(
        "puts the application of a dropped participant back to approved",
        APPROVED_HAS_PARTICIPANT,
        ("aaa", APPLICATION, "before update", "new.status := 'approved'; return new;"),
        drop,
    ),
    Sabotage(
        "assigns quests to their creators",
        ASSIGNEE_IS_PARTICIPANT,
        ("zzz", QUEST, "before update", "new.assigned_to_id := new.creator_id; return new;"),
        join,
    ),
    Sabotage(
        "swallows the assignment",
        PARTICIPANT_HAS_ASSIGNED_QUEST,
        ("zzz", QUEST, "before update", "return null;"),
        join,
    ),
    Sabotage(
        "reopens every quest",
        STATUS_MATCHES_ASSIGNMENT,
        ("zzz", QUEST, "before update", "new.status := 'open'; return new;"),
        join,
    ),
    Sabotage(
        "approves every new application behind our back",
        APPLICATION_MARKER,
        ("zzz", APPLICATION, "before insert", "new.status := 'approved'; return new;"),
        apply,
    ),
    Sabotage(
        "approves what is rejected behind our back",
        APPLICATION_MARKER,
        ("zzz", APPLICATION, "before update", "new.status := 'approved'; return new;"),
        reject,
    ),
    Sabotage(
        "drops participants behind our back",
        PARTICIPANT_MARKER,
        ("zzz", PARTICIPANT, "before update", "new.status := 'dropped'; return new;"),
        work,
    ),
    Sabotage(
        "keeps dropped participants behind our back",
        PARTICIPANT_MARKER,
        ("zzz", PARTICIPANT, "before update", "new.status := 'joined'; return new;"),
        drop,
    ),
    Sabotage(
        "unassigns quests behind our back",
        QUEST_MARKER,
        ("zzz", QUEST, "before update", "new.status := 'open'; new.assigned_to_id := null; return new;"),
        join,
    ),
    # On a write that names other columns than the triggers are for.
    Sabotage(
        "approves applications that are only reviewed",
        APPLICATION_MARKER,
        ("aaa", APPLICATION, "before update", "new.status := 'approved'; return new;"),
        review,
    ),
    Sabotage(
        "moves approved applications that are only reviewed",
        APPROVED_HAS_PARTICIPANT,
        ("aaa", APPLICATION, "before update", f"new.quest_id := {AN_OPEN_QUEST}; return new;"),
        review_approved,
    ),
    Sabotage(
        "drops participants who only take notes",
        PARTICIPANT_MARKER,
        ("aaa", PARTICIPANT, "before update", "new.status := 'dropped'; return new;"),
        take_notes,
    ),
    Sabotage(
        "moves participants who only take notes",
        PARTICIPANT_HAS_ASSIGNED_QUEST,
        ("aaa", PARTICIPANT, "before update", f"new.quest_id := {AN_OPEN_QUEST}; return new;"),
        take_notes,
    ),
    Sabotage(
        "opens quests that are only renamed",
        STATUS_MATCHES_ASSIGNMENT,
        ("aaa", QUEST, "before update", "new.status := 'open'; return new;"),
        rename,
    ),
    Sabotage(
        "unassigns quests that are only renamed",
        QUEST_MARKER,
        ("aaa", QUEST, "before update", "new.status := 'open'; new.assigned_to_id := null; return new;"),
        rename,
    ),
    Sabotage(
        "assigns quests that are only renamed to their creators",
        ASSIGNEE_IS_PARTICIPANT,
        ("aaa", QUEST, "before update", "new.assigned_to_id := new.creator_id; return new;"),
        rename,
    ),
    Sabotage(
        "gives applications an unknown status",
        APPLICATION_STATUS_KNOWN,
        ("zzz", APPLICATION, "before insert or update", "new.status := 'archived'; return new;"),
        reject,
    ),
    Sabotage(
        "gives participants an unknown status",
        PARTICIPANT_STATUS_KNOWN,
        ("zzz", PARTICIPANT, "before insert or update", "new.status := 'archived'; return new;"),
        work,
    ),
    Sabotage(
        "gives quests an unknown status",
        QUEST_STATUS_KNOWN,
        ("zzz", QUEST, "before insert or update", "new.status := 'archived'; return new;"),
        join,
    ),
)


def run(connection: _Connection, sabotage: Sabotage) -> Refusal | None:
    write = sabotage.prepare(connection)
    install(connection, *sabotage.trigger)
    connection.commit()
    written = False
    try:
        write(connection)
        written = True
        connection.commit()
    except psycopg.IntegrityError as error:
        connection.rollback()
        return Refusal(error.sqlstate, error.diag.constraint_name, written)
    return None


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.about)
def test_fails_closed(sabotage: Sabotage, migrated: _Connection) -> None:
    expected = expected_refusal(migrated, sabotage.constraint)

    assert run(migrated, sabotage) == expected

    assert rules_broken(migrated) == set()


@pytest.mark.parametrize("write", dict.fromkeys(each.prepare for each in SABOTAGES), ids=lambda write: write.__name__)
def test_the_same_writes_are_lawful_without_a_saboteur(
    write: Callable[[_Connection], Write], migrated: _Connection
) -> None:
    write(migrated)(migrated)
    migrated.commit()

    assert rules_broken(migrated) == set()


def test_triggers_of_the_apps_own_that_run_before_ours_are_obeyed(migrated: _Connection) -> None:
    """What such a trigger writes is what the mechanism sees: no different from a client that writes it."""
    install(migrated, "aaa", APPLICATION, "before insert or update", "new.status := 'approved'; return new;")
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)

    factory.application(migrated, quest_id, user_id)
    migrated.commit()

    found = migrated.execute(
        "select application.status, participant.status, quest.status, assigned_to_id = user_id"
        " from applications_application as application"
        " inner join quests_questparticipant as participant on user_id = applicant_id"
        " inner join quests_quest as quest on quest.id = application.quest_id and quest.id = participant.quest_id"
    ).fetchall()
    assert found == [("approved", "joined", "in-progress", True)]


def test_a_participant_deleted_by_an_after_trigger_ends_the_application(migrated: _Connection) -> None:
    install(
        migrated,
        "aaa",
        PARTICIPANT,
        "after insert",
        "delete from public.quests_questparticipant where id = new.id; return null;",
    )
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)

    application_id = factory.application(migrated, quest_id, user_id, status="approved")
    migrated.commit()

    found = migrated.execute("select status from applications_application where id = %s", [application_id])
    assert found.fetchone() == ("kicked",)
    assert rules_broken(migrated) == set()


def test_a_trigger_that_needs_the_clients_search_path_fails_closed(migrated: _Connection) -> None:
    """The mechanism pins its search_path, and so that of the triggers its own writes fire.

    Such a trigger works for a client's write; fired by the mechanism's, it finds no table and the whole write fails.
    """
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, quest_id, user_id)
    other_quest = factory.quest(migrated)
    install(migrated, "zzz", PARTICIPANT, "after insert", "perform count(*) from quests_questparticipant; return null;")
    factory.participant(migrated, other_quest, user_id)
    migrated.commit()

    with pytest.raises(psycopg.errors.UndefinedTable):
        write_application(migrated, application_id, status="approved")

    migrated.rollback()
    found = migrated.execute(
        "select application.status, quest.status, assigned_to_id from applications_application as application"
        " inner join quests_quest as quest on quest.id = quest_id"
    )
    assert found.fetchall() == [("pending", "open", None)]
