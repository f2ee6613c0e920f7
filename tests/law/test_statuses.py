"""Unknown statuses: none comes in, and an old row that has one can still be saved for another reason."""

from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from checks import ddl, law
from tests.law.cases import (
    APPLICATION_STATUS_KNOWN,
    PARTICIPANT_STATUS_KNOWN,
    QUEST_STATUS_KNOWN,
    taken_quest,
    write,
)
from tests.law.refusal import disable_triggers, drop_constraint
from tests.support import factory

_Connection = psycopg.Connection[Any]

KNOWN = {
    "applications_application": ["pending", "approved", "rejected", "kicked"],
    "quests_questparticipant": ["joined", "in_progress", "completed", "dropped"],
    "quests_quest": ["open", "in-progress", "completed"],
}
CONSTRAINTS = {
    "applications_application": APPLICATION_STATUS_KNOWN,
    "quests_questparticipant": PARTICIPANT_STATUS_KNOWN,
    "quests_quest": QUEST_STATUS_KNOWN,
}
# What a typo, another table's spelling or a new version of the app would write.
UNKNOWN = ["", "Open", "APPROVED", "approved ", "archived"]

# A status in which a row asks nothing of the other tables.
QUIET = {"applications_application": "pending", "quests_questparticipant": "dropped", "quests_quest": "open"}
# What an unknown status means to the markers: it is not 'approved', but it is not 'dropped' either.
MARKERS: dict[str, dict[str, Any]] = {
    "applications_application": {},
    "quests_questparticipant": {"integrity_active": True},
    "quests_quest": {},
}


def row(connection: _Connection, table: str, status: str, **columns: Any) -> int:
    """Insert a row of the table with this status; a participant's quest is taken by somebody else."""
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    if table == "quests_quest":
        return factory.quest(connection, status=status, **columns)
    if table == "applications_application":
        return factory.application(connection, quest_id, user_id, status=status, **columns)
    return factory.participant(connection, quest_id, user_id, status=status, **columns)


def status_of(connection: _Connection, table: str, row_id: int) -> str:
    found = connection.execute(
        sql.SQL("select status from {} where id = %s").format(sql.Identifier(table)), [row_id]
    ).fetchone()
    assert found is not None
    return str(found[0])


def save_whole(connection: _Connection, table: str, row_id: int) -> None:
    """Write every column of a row back as it is, as Django's `save()` does."""
    names = [
        sql.Identifier(name)
        for (name,) in connection.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and attidentity = ''"
            " and not attisdropped and not starts_with(attname, 'integrity_')",
            [table],
        )
    ]
    connection.execute(
        sql.SQL("update {} set {} where id = %s").format(
            sql.Identifier(table), sql.SQL(", ").join(sql.SQL("{0} = {0}").format(name) for name in names)
        ),
        [row_id],
    )


@pytest.fixture(params=KNOWN)
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def legacy_id(table: str, migrated: _Connection) -> int:
    """An old row of the table in a database whose CHECK waits: its stand-in is there, the CHECK is not."""
    drop_constraint(migrated, CONSTRAINTS[table])
    row_id = row(migrated, table, "archived")
    migrated.execute("select integrity.stand_in_for_statuses(%s)", [table])
    migrated.commit()
    return row_id


@pytest.mark.parametrize(("table", "status"), [(table, status) for table, known in KNOWN.items() for status in known])
def test_every_known_status_can_be_inserted(table: str, status: str, migrated: _Connection) -> None:
    row_id = row(migrated, table, status)
    migrated.commit()

    # Nobody takes part in a quest that is new.
    expected = "open" if (table, status) == ("quests_quest", "in-progress") else status
    assert status_of(migrated, table, row_id) == expected


@pytest.mark.parametrize("status", UNKNOWN)
@pytest.mark.parametrize("triggers", [True, False], ids=["triggers", "no triggers"])
@pytest.mark.parametrize("how", ["insert", "update"])
def test_unknown_status_is_refused(how: str, triggers: bool, status: str, table: str, migrated: _Connection) -> None:
    if not triggers:
        disable_triggers(migrated)
    row_id = row(migrated, table, QUIET[table])
    migrated.commit()

    attempts = {
        "insert": partial(row, migrated, table, status, **MARKERS[table]),
        "update": partial(write, migrated, table, row_id, status=status, **MARKERS[table]),
    }
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        attempts[how]()

    assert refusal.value.diag.constraint_name == CONSTRAINTS[table]
    assert refusal.value.diag.table_name == table
    assert refusal.value.diag.schema_name == "public"


def test_old_row_can_be_saved_unchanged(table: str, legacy_id: int, migrated: _Connection) -> None:
    save_whole(migrated, table, legacy_id)
    migrated.commit()

    assert status_of(migrated, table, legacy_id) == "archived"


def test_old_row_cannot_change_to_another_unknown_status(table: str, legacy_id: int, migrated: _Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        write(migrated, table, legacy_id, status="unknown")

    assert refusal.value.diag.constraint_name == CONSTRAINTS[table]
    assert refusal.value.diag.table_name == table


def test_no_second_row_gets_the_old_rows_status(table: str, legacy_id: int, migrated: _Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        row(migrated, table, "archived")

    assert refusal.value.diag.constraint_name == CONSTRAINTS[table]


def test_old_row_can_be_given_a_known_status(table: str, legacy_id: int, migrated: _Connection) -> None:
    """And then the CHECK can be attached."""
    obstacles = "select integrity.law_obstacles(%s)"
    assert migrated.execute(obstacles, [CONSTRAINTS[table]]).fetchone() == (1,)

    write(migrated, table, legacy_id, status=QUIET[table])
    migrated.commit()

    assert status_of(migrated, table, legacy_id) == QUIET[table]
    assert migrated.execute(obstacles, [CONSTRAINTS[table]]).fetchone() == (0,)
    migrated.commit()
    migrated.autocommit = True
    assert law.advance(migrated, ddl.LockPolicy()) == []
    disable_triggers(migrated)
    with pytest.raises(psycopg.errors.CheckViolation):
        write(migrated, table, legacy_id, status="archived", **MARKERS[table])


def test_the_check_waits_for_the_old_row(table: str, legacy_id: int, migrated: _Connection) -> None:
    """Attached now, even NOT VALID, it would refuse to save the old row for any reason."""
    migrated.autocommit = True

    remaining = law.advance(migrated, ddl.LockPolicy())

    assert [(item.name, item.state, item.rules) for item in remaining] == [
        (CONSTRAINTS[table], "missing", ("unknown_status",))
    ]
