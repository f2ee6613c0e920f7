"""An approval and its effects are one: committed together, or not at all."""

from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.mechanism.state import State, admit, assert_sound, events, one, participant, state
from tests.mechanism.statements import (
    Insert,
    Update,
    by_every_insert,
    by_every_update,
    delete_many,
    update_many,
)
from tests.support import factory
from tests.support.database import another

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"


@pytest.fixture
def pending(migrated: _Connection) -> tuple[int, UUID, int]:
    """A committed quest with a pending application: quest, applicant and application."""
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, quest_id, user_id)
    migrated.commit()
    return quest_id, user_id, application_id


def assert_untouched(connection: _Connection, quest_id: int, application_id: int) -> None:
    """Nothing of an approval is left: not the row, not the effects, not the log."""
    assert state(connection, quest_id) == State("open", None, {application_id: "pending"})
    assert one(connection, "select count(*) from integrity.event")["count"] == 0
    assert_sound(connection)


def approve(connection: _Connection, *ids: int) -> None:
    update_many(connection, APPLICATIONS, ids, {"status": "approved"})


# One transaction.


def transaction_ids(connection: _Connection, quest_id: int) -> dict[str, Any]:
    """Read which transaction wrote each of the rows; xmin is the low half of its id."""
    return one(
        connection,
        """
        select
          application.xmin::text as application,
          participant.xmin::text as participant,
          quest.xmin::text as quest,
          event.xmin::text as event,
          pg_current_xact_id()::xid::text as current,
          event.transaction = pg_current_xact_id() as logged,
          event.at = now() as at
        from applications_application as application
        inner join quests_questparticipant as participant
          on participant.quest_id = application.quest_id and participant.user_id = application.applicant_id
        inner join quests_quest as quest on quest.id = application.quest_id
        inner join integrity.event as event
          on event.application_id = application.id and event.participant_id = participant.id
        where application.quest_id = %s and event.kind = 'application_approved'
        """,
        quest_id,
    )


@by_every_update
def test_updated_rows_are_of_one_transaction(
    update: Update, migrated: _Connection, pending: tuple[int, UUID, int]
) -> None:
    quest_id, _, application_id = pending

    update(migrated, APPLICATIONS, [application_id], {"status": "approved"})

    ids = transaction_ids(migrated, quest_id)
    assert ids["application"] == ids["participant"] == ids["quest"] == ids["event"] == ids["current"]
    assert (ids["logged"], ids["at"]) == (True, True)


@by_every_insert
def test_inserted_rows_are_of_one_transaction(insert: Insert, migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    migrated.commit()

    insert(
        migrated,
        APPLICATIONS,
        [{"status": "approved", "applied_at": "2025-01-01 00:00+00", "quest_id": quest_id, "applicant_id": user_id}],
    )

    ids = transaction_ids(migrated, quest_id)
    assert ids["application"] == ids["participant"] == ids["quest"] == ids["event"] == ids["current"]


def test_another_session_sees_all_or_nothing(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    quest_id, user_id, application_id = pending
    approve(migrated, application_id)

    with another(migrated) as observer:
        assert state(observer, quest_id) == State("open", None, {application_id: "pending"})
        observer.rollback()
        migrated.commit()
        assert state(observer, quest_id) == State(
            "in-progress", user_id, {application_id: "approved"}, {user_id: "joined"}
        )


def test_one_event_per_approval(migrated: _Connection) -> None:
    """However it came about, and whatever is saved afterwards."""
    quest_id = factory.quest(migrated)
    user_id, first, participant_id = admit(migrated, quest_id)
    _, second, _ = admit(migrated, quest_id)
    pending = factory.application(migrated, quest_id, factory.user(migrated))
    approve(migrated, pending)
    approve(migrated, first, second, pending)
    update_many(migrated, PARTICIPANTS, [participant_id], {"status": "in_progress"})
    update_many(migrated, QUESTS, [quest_id], {"status": "open"})
    migrated.commit()
    approve(migrated, first, second, pending)
    update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped"})
    again = factory.application(migrated, quest_id, user_id, status="approved")
    migrated.commit()

    logged = migrated.execute(
        "select application_id, count(*) from integrity.event"
        " where kind = 'application_approved' group by application_id"
    ).fetchall()
    assert dict(logged) == dict.fromkeys([first, second, pending, again], 1)
    assert_sound(migrated)


# Errors in the middle.


def test_client_error_after_the_approval(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    quest_id, _, application_id = pending
    approve(migrated, application_id)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrated.execute("select 1 / 0")
    migrated.rollback()

    assert_untouched(migrated, quest_id, application_id)


def test_session_that_dies_before_commit(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    quest_id, _, application_id = pending
    with another(migrated) as session:
        approve(session, application_id)
        ended = migrated.execute("select pg_terminate_backend(%s, 30000)", [session.info.backend_pid]).fetchone()
        assert ended == (True,)
        migrated.rollback()

    assert_untouched(migrated, quest_id, application_id)


BREAKERS: dict[str, tuple[type[psycopg.Error], LiteralString]] = {
    "participant": (
        psycopg.errors.CheckViolation,
        "alter table quests_questparticipant add constraint no_notes check (progress_notes <> '')",
    ),
    "quest": (
        psycopg.errors.CheckViolation,
        "alter table quests_quest add constraint nobody check (assigned_to_id is null)",
    ),
    "event": (
        psycopg.errors.RaiseException,
        "create function full_up() returns trigger language plpgsql as $$ begin raise exception 'full'; end $$;"
        " create trigger full_up before insert on integrity.event for each row execute function full_up()",
    ),
    "another table": (
        psycopg.errors.RaiseException,
        "create function full_up() returns trigger language plpgsql as $$ begin raise exception 'full'; end $$;"
        " create trigger zzz after update on applications_application for each row execute function full_up()",
    ),
}


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "transaction"])
@pytest.mark.parametrize("where", BREAKERS)
def test_effect_that_fails_takes_the_approval_with_it(
    where: str, autocommit: bool, migrated: _Connection, pending: tuple[int, UUID, int]
) -> None:
    """Nothing is swallowed, which is how the incident came about."""
    quest_id, _, application_id = pending
    error, breaker = BREAKERS[where]
    migrated.execute(breaker)
    migrated.commit()
    migrated.autocommit = autocommit

    with pytest.raises(error):
        approve(migrated, application_id)

    migrated.rollback()
    assert_untouched(migrated, quest_id, application_id)


@by_every_update
def test_one_row_that_fails_takes_the_others_with_it(
    update: Update, migrated: _Connection, pending: tuple[int, UUID, int]
) -> None:
    """In one statement over several quests; statement by statement it is the client's transaction that does it."""
    quest_id, _, application_id = pending
    forbidden = factory.quest(migrated)
    refused = factory.application(migrated, forbidden, factory.user(migrated))
    migrated.execute(f"alter table quests_questparticipant add constraint closed check (quest_id <> {forbidden})")
    migrated.commit()

    with pytest.raises(psycopg.errors.CheckViolation), migrated.transaction():
        update(migrated, APPLICATIONS, [application_id, refused], {"status": "approved"})

    assert_untouched(migrated, quest_id, application_id)
    assert_untouched(migrated, forbidden, refused)


# Savepoints, which is what Django's nested atomic() blocks are.


def test_rolled_back_savepoint(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    quest_id, _, application_id = pending
    with migrated.transaction():
        migrated.execute("update quests_quest set title = 'Kept' where id = %s", [quest_id])
        with migrated.transaction(force_rollback=True):
            approve(migrated, application_id)
            assert state(migrated, quest_id).status == "in-progress"

    assert one(migrated, "select title from quests_quest where id = %s", quest_id)["title"] == "Kept"
    assert_untouched(migrated, quest_id, application_id)


def test_released_savepoint(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    """The log names the transaction, not the savepoint, whose id the rows carry."""
    quest_id, user_id, application_id = pending
    with migrated.transaction():
        migrated.execute("update quests_quest set title = 'Kept' where id = %s", [quest_id])
        with migrated.transaction():
            approve(migrated, application_id)
        ids = transaction_ids(migrated, quest_id)

    assert ids["application"] == ids["participant"] == ids["quest"] == ids["event"] != ids["current"]
    assert ids["logged"]
    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert_sound(migrated)


def test_drop_rolled_back_to_a_savepoint(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    quest_id, user_id, application_id = pending
    with migrated.transaction():
        approve(migrated, application_id)
        with migrated.transaction(force_rollback=True):
            delete_many(migrated, PARTICIPANTS, [participant(migrated, quest_id, user_id)["id"]])
            assert state(migrated, quest_id) == State("open", None, {application_id: "kicked"})

    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert events(migrated, quest_id) == ["application_approved"]
    assert_sound(migrated)


def test_refused_approval_in_a_savepoint_leaves_the_rest(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    quest_id, user_id, application_id = pending
    second = factory.application(migrated, quest_id, user_id)
    with migrated.transaction():
        approve(migrated, application_id)
        with pytest.raises(psycopg.errors.UniqueViolation), migrated.transaction():
            approve(migrated, second)

    assert state(migrated, quest_id).applications == {application_id: "approved", second: "pending"}
    assert_sound(migrated)


# Deferred and immediate checks.


def test_effects_satisfy_the_constraints_before_commit(migrated: _Connection, pending: tuple[int, UUID, int]) -> None:
    """Django's TestCase never commits: it checks its constraints with SET CONSTRAINTS at the end of a test."""
    quest_id, user_id, application_id = pending
    approve(migrated, application_id)
    migrated.execute("set constraints all immediate")
    migrated.execute("set constraints all deferred")
    delete_many(migrated, PARTICIPANTS, [participant(migrated, quest_id, user_id)["id"]])
    migrated.execute("set constraints all immediate")
    migrated.commit()

    assert state(migrated, quest_id) == State("open", None, {application_id: "kicked"})


def test_with_immediate_constraints_an_approval_is_refused(
    migrated: _Connection, pending: tuple[int, UUID, int]
) -> None:
    """PostgreSQL checks its own foreign keys before other triggers run: an approval needs them deferred."""
    quest_id, _, application_id = pending
    migrated.execute("set constraints all immediate")

    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
        approve(migrated, application_id)

    assert refusal.value.diag.constraint_name == "integrity_approved_application_has_participant"
    migrated.rollback()
    assert_untouched(migrated, quest_id, application_id)
