"""`integrity.mechanism = off` in a session: the triggers only mark, and the law decides at COMMIT."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.mechanism.state import State, admit, assert_sound, events, one, participant, state
from tests.support import factory
from tests.support.database import another, url_of
from tests.support.proof import CREATE

_Connection = psycopg.Connection[Any]

OFF = "set integrity.mechanism = off"
KINDS = "select count(*) from integrity.event where kind = 'mechanism_off'"


@contextmanager
def refused(sqlstate: str, constraint: str) -> Iterator[None]:
    """Expect a refusal by a constraint."""
    with pytest.raises(psycopg.IntegrityError) as error:
        yield
    assert (error.value.sqlstate, error.value.diag.constraint_name) == (sqlstate, constraint)


def times_logged(connection: _Connection) -> int:
    row = connection.execute(KINDS).fetchone()
    assert row is not None
    return int(row[0])


def load(connection: _Connection, *, first: str = "application") -> tuple[int, UUID, int]:
    """Write a taken quest row by row, in one order or another, with ids of its own."""
    quest_id, user_id, application_id = 4711, factory.user(connection), 4712
    category_id, creator_id = factory.category(connection), factory.user(connection)

    def application() -> None:
        factory.application(connection, quest_id, user_id, id=application_id, status="approved")

    def quest() -> None:
        columns = {"id": quest_id, "creator_id": creator_id, "category_id": category_id}
        factory.quest(connection, status="in-progress", assigned_to_id=user_id, **columns)

    def participant() -> None:
        # The id that the mechanism's own participant would have taken.
        factory.participant(connection, quest_id, user_id, id=1)

    steps = {"application": application, "quest": quest, "participant": participant}
    steps.pop(first)()
    for step in steps.values():
        step()
    return quest_id, user_id, application_id


@pytest.mark.parametrize("first", ["application", "quest", "participant"])
def test_consistent_rows_are_loaded_as_they_are_in_any_order(first: str, migrated: _Connection) -> None:
    migrated.execute(OFF)
    quest_id, user_id, application_id = load(migrated, first=first)
    migrated.commit()

    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert participant(migrated, quest_id, user_id)["id"] == 1
    assert participant(migrated, quest_id, user_id)["integrity_active"] is True
    assert events(migrated, quest_id) == ["mechanism_off"]
    assert_sound(migrated)


def test_two_on_a_quest_keep_the_assignee_that_was_written(migrated: _Connection) -> None:
    """A quest that is loaded before its participants is not emptied, nor assigned to the earliest of them."""
    users = [factory.user(migrated) for _ in range(2)]
    migrated.execute(OFF)
    quest_id = factory.quest(migrated, status="in-progress", assigned_to_id=users[1])
    for user_id in users:
        factory.participant(migrated, quest_id, user_id)
    migrated.commit()

    assert (state(migrated, quest_id).status, state(migrated, quest_id).assignee) == ("in-progress", users[1])
    assert_sound(migrated)


@pytest.mark.parametrize("value", ["off", "OFF", "Off", "false", "no", "0"])
def test_spellings_of_off(value: str, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    migrated.commit()
    migrated.execute("select set_config('integrity.mechanism', %s, false)", [value])
    factory.application(migrated, quest_id, factory.user(migrated), status="approved")

    with refused("23503", "integrity_approved_application_has_participant"):
        migrated.commit()


@pytest.mark.parametrize("value", ["", "on", "of", "offf", " off", "true", "1", "o'ff", "aus"])
def test_anything_else_is_on(value: str, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    migrated.execute("select set_config('integrity.mechanism', %s, false)", [value])
    admit(migrated, quest_id)

    assert state(migrated, quest_id).status == "in-progress"
    assert times_logged(migrated) == 0
    assert_sound(migrated)


def test_it_may_be_given_with_the_connection(migrated: _Connection) -> None:
    """As PGOPTIONS and Django's OPTIONS give it."""
    quest_id = factory.quest(migrated)
    migrated.commit()
    with psycopg.connect(url_of(migrated), options="-c integrity.mechanism=off") as session:
        factory.application(session, quest_id, factory.user(session), status="approved")
        with refused("23503", "integrity_approved_application_has_participant"):
            session.commit()


def test_set_local_ends_with_the_transaction(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    migrated.commit()
    migrated.execute("set local integrity.mechanism = off")
    factory.participant(migrated, quest_id, factory.user(migrated), status="dropped")
    migrated.commit()

    admit(migrated, quest_id)

    assert state(migrated, quest_id).status == "in-progress"
    assert_sound(migrated)


def test_other_sessions_are_not_concerned(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    migrated.commit()
    with another(migrated) as session:
        session.execute(OFF)
        session.commit()
        admit(migrated, quest_id)

    assert state(migrated, quest_id).status == "in-progress"
    assert_sound(migrated)


WRITES = {
    "application approved": (
        "update applications_application set status = 'approved' where quest_id = %s and status = 'pending'",
        "23503",
        "integrity_approved_application_has_participant",
    ),
    "application moved": (
        "update applications_application set applicant_id = (select creator_id from quests_quest where id = quest_id)"
        " where quest_id = %s and status = 'approved'",
        "23503",
        "integrity_approved_application_has_participant",
    ),
    "participant deleted": (
        "delete from quests_questparticipant where quest_id = %s",
        "23503",
        "integrity_approved_application_has_participant",
    ),
    "participant dropped": (
        "update quests_questparticipant set status = 'dropped' where quest_id = %s",
        "23503",
        "integrity_approved_application_has_participant",
    ),
    "quest completed by nobody": (
        "update quests_quest set status = 'completed', assigned_to_id = null where id = %s",
        "23503",
        "integrity_participant_has_assigned_quest",
    ),
    "quest assigned to a stranger": (
        "update quests_quest set assigned_to_id = creator_id where id = %s",
        "23503",
        "integrity_assignee_is_participant",
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_broken_write_is_refused_at_commit(name: str, migrated: _Connection) -> None:
    statement, sqlstate, constraint = WRITES[name]
    quest_id = factory.quest(migrated)
    admit(migrated, quest_id)
    factory.application(migrated, quest_id, factory.user(migrated))
    migrated.commit()
    migrated.execute(OFF)
    migrated.execute(statement.encode(), [quest_id])

    with refused(sqlstate, constraint):
        migrated.commit()


@pytest.mark.parametrize("status", ["open", "in-progress"])
def test_quest_that_contradicts_itself_is_refused_at_once(status: str, migrated: _Connection) -> None:
    user_id = factory.user(migrated)
    migrated.execute(OFF)

    with refused("23514", "integrity_status_matches_assignment"):
        factory.quest(migrated, status=status, assigned_to_id=user_id if status == "open" else None)


def test_participants_without_their_quest_assigned_are_refused(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    migrated.execute(OFF)
    factory.participant(migrated, quest_id, factory.user(migrated))

    with refused("23503", "integrity_participant_has_assigned_quest"):
        migrated.commit()


def test_second_approval_is_refused(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, _, _ = admit(migrated, quest_id)
    migrated.execute(OFF)

    with refused("23505", "integrity_approved_application_key"):
        factory.application(migrated, quest_id, user_id, status="approved")


@pytest.mark.parametrize("value", ["true", "false", "null"])
def test_markers_follow_their_rows(value: str, migrated: _Connection) -> None:
    migrated.execute(OFF)
    quest_id, _, _ = load(migrated)
    for table, marker in (
        ("quests_quest", "integrity_assigned"),
        ("applications_application", "integrity_approved"),
        ("quests_questparticipant", "integrity_active"),
    ):
        migrated.execute(f"update {table} set {marker} = {value}".encode())
        found = migrated.execute(f"select bool_and({marker}) from {table}".encode()).fetchone()
        assert found == (True,)
    assert state(migrated, quest_id).status == "in-progress"
    assert_sound(migrated)


# What is logged.


def test_logged_once_a_transaction(migrated: _Connection) -> None:
    migrated.execute(OFF)
    quests = []
    for _ in range(3):
        user_id = factory.user(migrated)
        quest_id = factory.quest(migrated, status="in-progress", assigned_to_id=user_id)
        quests.append(quest_id)
        factory.participant(migrated, quest_id, user_id)
        factory.application(migrated, quest_id, user_id, status="approved")
    migrated.commit()
    assert times_logged(migrated) == 1
    logged = one(migrated, "select * from integrity.event where kind = 'mechanism_off'")
    assert (logged["quest_id"], logged["before"], logged["after"]) == (quests[0], None, None)
    assert logged["actor"] == migrated.info.user

    migrated.execute("delete from quests_questparticipant where false")
    migrated.execute("update quests_quest set assigned_to_id = assigned_to_id, status = 'completed'")
    migrated.commit()
    assert times_logged(migrated) == 2


def test_what_concerns_no_rule_is_not_logged(migrated: _Connection) -> None:
    migrated.execute(OFF)
    quest_id = factory.quest(migrated)
    factory.application(migrated, quest_id, factory.user(migrated))
    factory.participant(migrated, quest_id, factory.user(migrated), status="dropped")
    migrated.execute("update quests_quest set title = 'Renamed', status = status")
    migrated.commit()

    assert times_logged(migrated) == 0
    assert_sound(migrated)


def test_logged_again_after_a_savepoint_was_rolled_back(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    admit(migrated, quest_id)
    migrated.commit()
    migrated.execute(OFF)
    with migrated.transaction():
        migrated.execute("update quests_quest set status = 'completed' where id = %s", [quest_id])
        assert times_logged(migrated) == 1
        raise psycopg.Rollback
    assert times_logged(migrated) == 0
    migrated.execute("update quests_quest set status = 'completed' where id = %s", [quest_id])
    assert times_logged(migrated) == 1
    assert_sound(migrated)


# What else runs in such a session.


def _run(connection: _Connection, batch: LiteralString, run: int) -> set[str]:
    """Run all batches of a repair or an undo; return the outcomes."""
    while one(connection, f"select {batch}(%s, 100) as handled", run)["handled"]:
        connection.commit()
    found = connection.execute("select outcome from integrity.repair_item where run = %s", [run])
    return {outcome for (outcome,) in found}


def test_repairs_and_their_undo_finish_what_they_begin(sync_001: _Connection) -> None:
    before = state(sync_001, 5)
    sync_001.execute(OFF)
    run = one(sync_001, f"select integrity.start_repair('test', '{json.dumps(CREATE)}') as id")["id"]
    sync_001.execute("select integrity.plan_repair(%s, null, null, null, 100)", [run])

    # The first repair leaves nothing to the one that was planned second.
    assert _run(sync_001, "integrity.repair_batch", run) == {"repaired", "gone"}
    assert (state(sync_001, 5).status, len(state(sync_001, 5).participants)) == ("in-progress", 1)
    assert_sound(sync_001)

    undo = one(sync_001, "select integrity.start_undo(%s, 'test') as id", run)["id"]
    # As with the mechanism on: the law allows no return to the approval without a participant, so it ends.
    assert _run(sync_001, "integrity.undo_batch", undo) == {"partly undone"}
    assert state(sync_001, 5) == replace(before, applications=dict.fromkeys(before.applications, "kicked"))
    assert_sound(sync_001)
    assert sync_001.execute("show integrity.mechanism").fetchone() == ("off",)
    assert times_logged(sync_001) == 0


def test_old_row_is_not_healed_but_refused(sync_001: _Connection) -> None:
    """Quest 5 stays as it is; a stand-in that would derive it leaves it to the CHECK."""
    sync_001.execute("set session_replication_role = replica")
    sync_001.execute("alter table quests_quest drop constraint integrity_status_matches_assignment")
    sync_001.execute("update quests_quest set status = 'in-progress' where id = 5")
    sync_001.execute("set session_replication_role = origin")
    sync_001.execute(
        "alter table quests_quest add constraint integrity_status_matches_assignment check"
        " (status <> case when assigned_to_id is null then 'in-progress' else 'open' end) not valid"
    )
    sync_001.execute(
        "create trigger integrity_heal before update on quests_quest for each row"
        " execute function integrity.on_quest_write('always')"
    )
    sync_001.commit()
    sync_001.execute(OFF)

    with refused("23514", "integrity_status_matches_assignment"):
        sync_001.execute("update quests_quest set title = 'Renamed' where id = 5")
    sync_001.rollback()

    sync_001.execute("set integrity.mechanism = on")
    sync_001.execute("update quests_quest set title = 'Renamed' where id = 5")
    assert state(sync_001, 5).status == "open"


def test_approval_that_outlived_its_participant_is_not_ended_but_refused(sync_001: _Connection) -> None:
    """Approved before the law, without a participant: a second approval meets the key."""
    (applicant,) = state(sync_001, 17).participants
    sync_001.execute(OFF)

    with refused("23505", "integrity_approved_application_key"):
        factory.application(sync_001, 5, applicant, status="approved")
    sync_001.rollback()

    sync_001.execute("set integrity.mechanism = on")
    factory.application(sync_001, 5, applicant, status="approved")
    sync_001.commit()
    assert sorted(state(sync_001, 5).applications.values()) == ["approved", "kicked"]
