"""Hard deletes: Django deletes children first, in one transaction, and nothing of ours may stand in its way."""

from itertools import permutations
from typing import Any

import psycopg
import pytest

from tests.mechanism.state import State, admit, assert_sound, events, state
from tests.mechanism.statements import delete_many, update_many
from tests.support import factory

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"
CHILDREN = {APPLICATIONS, PARTICIPANTS}


def busy_quest(connection: _Connection, **columns: Any) -> int:
    """Make a quest with people in every state."""
    quest_id = factory.quest(connection, **columns)
    admit(connection, quest_id)
    admit(connection, quest_id, "completed")
    _, kicked, _ = admit(connection, quest_id)
    update_many(connection, APPLICATIONS, [kicked], {"status": "kicked"})
    factory.application(connection, quest_id, factory.user(connection))
    factory.participant(connection, quest_id, factory.user(connection))
    return quest_id


def children(connection: _Connection, table: str, quests: list[int]) -> list[int]:
    found = connection.execute(f"select id from {table} where quest_id = any(%s) order by id", [quests]).fetchall()
    return [row_id for (row_id,) in found]


def rows_left(connection: _Connection) -> int:
    found = connection.execute(
        "select (select count(*) from quests_quest) + (select count(*) from applications_application)"
        " + (select count(*) from quests_questparticipant)"
    ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("status", ["open", "completed"])
@pytest.mark.parametrize("order", list(permutations([APPLICATIONS, PARTICIPANTS, QUESTS])), ids=" ".join)
def test_quests_deleted_with_their_children(order: tuple[str, ...], status: str, migrated: _Connection) -> None:
    """In Django's order and in every other: all foreign keys are checked at the end."""
    quests = [busy_quest(migrated) for _ in range(2)]
    update_many(migrated, QUESTS, quests, {"status": status})
    migrated.commit()
    ids = {table: children(migrated, table, quests) for table in CHILDREN} | {QUESTS: quests}

    for table in order:
        delete_many(migrated, table, ids[table])

    assert_sound(migrated)
    assert rows_left(migrated) == 0


@pytest.mark.parametrize("missing", sorted(CHILDREN))
def test_quest_deleted_without_its_children_is_refused(missing: str, migrated: _Connection) -> None:
    """By the app's own foreign keys, as ever."""
    quest_id = busy_quest(migrated)
    migrated.commit()
    before = state(migrated, quest_id)

    for table in CHILDREN - {missing}:
        delete_many(migrated, table, children(migrated, table, [quest_id]))
    delete_many(migrated, QUESTS, [quest_id])
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
        migrated.commit()

    assert not str(refusal.value.diag.constraint_name).startswith("integrity_")
    assert state(migrated, quest_id) == before


def test_quest_deleted_from_under_those_on_it_is_refused(migrated: _Connection) -> None:
    """Nobody goes along with it: no foreign key of ours cascades."""
    quest_id = factory.quest(migrated)
    admit(migrated, quest_id)
    factory.participant(migrated, quest_id, factory.user(migrated))
    migrated.commit()
    before = state(migrated, quest_id)

    migrated.execute("update applications_application set quest_id = %s", [factory.quest(migrated)])
    delete_many(migrated, QUESTS, [quest_id])
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        migrated.commit()

    assert state(migrated, quest_id) == before


def test_quest_deleted_from_under_one_who_never_applied_is_refused(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    factory.participant(migrated, quest_id, factory.user(migrated))
    migrated.commit()
    before = state(migrated, quest_id)

    delete_many(migrated, QUESTS, [quest_id])
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        migrated.commit()

    assert state(migrated, quest_id) == before


def test_category_deleted_with_its_quests(migrated: _Connection) -> None:
    """Only these: a quest of another category keeps everything."""
    category_id = factory.category(migrated)
    quests = [busy_quest(migrated, category_id=category_id) for _ in range(2)]
    other = busy_quest(migrated)
    migrated.commit()
    before = state(migrated, other)

    for table in (PARTICIPANTS, APPLICATIONS):
        delete_many(migrated, table, children(migrated, table, quests))
    delete_many(migrated, QUESTS, quests)
    migrated.execute("delete from quests_questcategory where id = %s", [category_id])

    assert_sound(migrated)
    assert state(migrated, other) == before


def test_user_deleted_with_everything_of_theirs(migrated: _Connection) -> None:
    """Django clears `assigned_to` first, which is put back while the user takes part, and then deletes their rows."""
    quest_id = factory.quest(migrated)
    ann, first, leaving = admit(migrated, quest_id)
    bob, second, _ = admit(migrated, quest_id)
    alone = factory.quest(migrated)
    lone = factory.application(migrated, alone, ann, status="approved")
    migrated.commit()
    assert state(migrated, quest_id).assignee == state(migrated, alone).assignee == ann

    migrated.execute("update quests_quest set assigned_to_id = null where assigned_to_id = %s", [ann])
    delete_many(migrated, PARTICIPANTS, [leaving])
    migrated.execute("delete from quests_questparticipant where user_id = %s", [ann])
    delete_many(migrated, APPLICATIONS, [first, lone])
    migrated.execute("delete from users_user where id = %s", [ann])

    assert state(migrated, quest_id) == State("in-progress", bob, {second: "approved"}, {bob: "joined"})
    assert state(migrated, alone) == State("open", None)
    assert_sound(migrated)


def test_deleting_the_participants_first_ends_the_applications_that_follow(migrated: _Connection) -> None:
    """What is deleted next is no longer approved, so nothing happens a second time."""
    quest_id = factory.quest(migrated)
    _, application_id, participant_id = admit(migrated, quest_id)

    delete_many(migrated, PARTICIPANTS, [participant_id])
    delete_many(migrated, APPLICATIONS, [application_id])
    delete_many(migrated, QUESTS, [quest_id])
    migrated.commit()

    assert events(migrated, quest_id) == ["application_approved", "application_ended", "participant_dropped"]


def test_deleting_a_soft_deleted_quest(migrated: _Connection) -> None:
    quest_id = busy_quest(migrated)
    before = state(migrated, quest_id)
    update_many(migrated, QUESTS, [quest_id], {"is_deleted": True})
    assert state(migrated, quest_id) == before

    for table in (PARTICIPANTS, APPLICATIONS):
        delete_many(migrated, table, children(migrated, table, [quest_id]))
    delete_many(migrated, QUESTS, [quest_id])

    assert_sound(migrated)
    assert rows_left(migrated) == 0
