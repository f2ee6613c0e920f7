"""Writes that are about something else cost little: no function of the layer is called that does more than look."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.mechanism.state import admit, version
from tests.mechanism.statements import delete_many, update_many
from tests.support import factory

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"

# What the layer reads to decide anything.
RELEVANT = {
    APPLICATIONS: {"id", "status", "quest_id", "applicant_id", "integrity_approved"},
    PARTICIPANTS: {"id", "status", "quest_id", "user_id", "integrity_active"},
    QUESTS: {"id", "status", "assigned_to_id", "integrity_assigned"},
}


# They look at the row that is written and leave, in less time than PostgreSQL needs to read the condition of a WHEN.
LOOKING = {
    "mark_application",
    "mark_participant",
    "mark_quest",
    "on_application_approved",
    "on_application_ended",
    "on_quest_write",
}


def calls(connection: _Connection) -> Counter[str]:
    """Read how often each of the layer's functions was called.

    The counts go on from earlier transactions, so only a difference within one transaction means anything.
    """
    found = connection.execute(
        "select funcname, calls from pg_stat_xact_user_functions where schemaname = 'integrity'"
    ).fetchall()
    return Counter(dict(found))


@contextmanager
def calling(connection: _Connection, *functions: str) -> Iterator[None]:
    """Make sure that the block calls these functions of the layer, and no other that does more than look."""
    before = calls(connection)
    events = connection.execute("select count(*) from integrity.event").fetchone()
    yield
    assert connection.execute("select count(*) from integrity.event").fetchone() == events
    assert set(calls(connection) - before) - LOOKING == set(functions)


@pytest.fixture
def metered(migrated: _Connection) -> _Connection:
    """A connection that counts function calls."""
    migrated.execute("set track_functions = 'all'")
    migrated.commit()
    return migrated


@pytest.fixture
def rows(metered: _Connection) -> dict[str, int]:
    """A row of each table, of one quest that somebody was admitted to."""
    quest_id = factory.quest(metered)
    _, application_id, participant_id = admit(metered, quest_id)
    metered.commit()
    return {QUESTS: quest_id, APPLICATIONS: application_id, PARTICIPANTS: participant_id}


def columns(connection: _Connection, table: str) -> list[str]:
    found = connection.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
        " and attidentity = ''",
        [table],
    ).fetchall()
    return [name for (name,) in found]


def test_the_meter_works(metered: _Connection, rows: dict[str, int]) -> None:
    before = calls(metered)

    admit(metered, factory.quest(metered))

    assert (calls(metered) - before)["on_application_approved"] == 1


@pytest.mark.parametrize("table", RELEVANT)
def test_whole_row_saved_unchanged(table: str, metered: _Connection, rows: dict[str, int]) -> None:
    """Django's `save()` writes every column, whatever changed; it does not know the markers."""
    names = [name for name in columns(metered, table) if not name.startswith("integrity_")]
    assert RELEVANT[table] - {"id"} <= set(columns(metered, table))

    same = sql.SQL(", ").join(sql.SQL("{0} = {0}").format(sql.Identifier(name)) for name in names)
    with calling(metered):
        metered.execute(sql.SQL("update {} set {} where id = %s").format(sql.Identifier(table), same), [rows[table]])


@pytest.mark.parametrize("table", RELEVANT)
def test_every_other_column_changed(table: str, metered: _Connection, rows: dict[str, int]) -> None:
    """All at once, in every way that the column's type allows."""
    other = {
        "boolean": "not {0}",
        "integer": "{0} + 1",
        "bigint": "coalesce({0}, 0) + 1",
        "text": "coalesce({0}, '') || '!'",
        "character varying": "coalesce({0}, '') || '!'",
        "timestamp with time zone": "coalesce({0}, now()) + interval '1 day'",
        "date": "coalesce({0}, current_date) + 1",
        "uuid": "(select id from users_user order by id limit 1)",
    }
    changes = []
    for name, type_name in metered.execute(
        "select attname, format_type(atttypid, null) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped and attname <> all(%s)",
        [table, list(RELEVANT[table])],
    ):
        # The one foreign key to another table than users.
        change = "{0}" if name == "category_id" else other[type_name]
        column = sql.Identifier(name)
        changes.append(sql.SQL("{} = ").format(column) + sql.SQL(change).format(column))  # type: ignore[arg-type]

    statement = sql.SQL("update {} set {} where id = %s")
    with calling(metered):
        metered.execute(statement.format(sql.Identifier(table), sql.SQL(", ").join(changes)), [rows[table]])
    metered.commit()


def move_on(status: str) -> Callable[[_Connection, dict[str, int]], None]:
    return lambda connection, rows: update_many(connection, PARTICIPANTS, [rows[PARTICIPANTS]], {"status": status})


def apply(connection: _Connection, rows: dict[str, int]) -> None:
    factory.application(connection, rows[QUESTS], factory.user(connection))


def reject(connection: _Connection, rows: dict[str, int]) -> None:
    application_id = factory.application(connection, rows[QUESTS], factory.user(connection))
    update_many(connection, APPLICATIONS, [application_id], {"status": "rejected"})


def withdraw(connection: _Connection, rows: dict[str, int]) -> None:
    application_id = factory.application(connection, rows[QUESTS], factory.user(connection))
    delete_many(connection, APPLICATIONS, [application_id])


def new_quest(connection: _Connection, rows: dict[str, int]) -> None:
    factory.quest(connection)


def delete_quest(connection: _Connection, rows: dict[str, int]) -> None:
    delete_many(connection, QUESTS, [factory.quest(connection)])


def soft_delete(connection: _Connection, rows: dict[str, int]) -> None:
    update_many(connection, QUESTS, [rows[QUESTS]], {"is_deleted": True})


def review_again(connection: _Connection, rows: dict[str, int]) -> None:
    update_many(connection, APPLICATIONS, [rows[APPLICATIONS]], {"status": "approved", "reviewed_at": None})


def same_assignee(connection: _Connection, rows: dict[str, int]) -> None:
    connection.execute("update quests_quest set status = 'in-progress', assigned_to_id = assigned_to_id")


@pytest.mark.parametrize(
    "write",
    [
        apply,
        reject,
        withdraw,
        new_quest,
        delete_quest,
        soft_delete,
        review_again,
        same_assignee,
        move_on("in_progress"),
        move_on("completed"),
    ],
)
def test_everyday_writes(
    write: Callable[[_Connection, dict[str, int]], None], metered: _Connection, rows: dict[str, int]
) -> None:
    """Including changes of a status that mean nothing to the other tables."""
    quest_before = version(metered, QUESTS, rows[QUESTS])

    with calling(metered):
        write(metered, rows)

    if write not in {soft_delete, same_assignee}:
        assert version(metered, QUESTS, rows[QUESTS]) == quest_before


def test_participant_change_that_keeps_the_quest_as_it_is_does_not_write_it(migrated: _Connection) -> None:
    """The quest is locked and derived, but its row stays the same version: nothing for others to conflict with."""
    quest_id = factory.quest(migrated)
    admit(migrated, quest_id)
    _, second, leaving = admit(migrated, quest_id)
    migrated.commit()
    before = migrated.execute("select ctid, xmin from quests_quest where id = %s", [quest_id]).fetchone()

    admit(migrated, quest_id)
    update_many(migrated, APPLICATIONS, [second], {"status": "kicked"})
    delete_many(migrated, PARTICIPANTS, [leaving])
    factory.participant(migrated, quest_id, factory.user(migrated))
    migrated.commit()

    assert migrated.execute("select ctid, xmin from quests_quest where id = %s", [quest_id]).fetchone() == before
