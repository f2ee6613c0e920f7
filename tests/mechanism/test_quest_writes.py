"""A quest is written: its status and assignee are derived from who takes part, whatever the writer believed."""

from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.mechanism.state import State, admit, assert_sound, events, one, state, version
from tests.mechanism.statements import (
    INSERTS,
    Insert,
    Update,
    by_every_update,
    update_many,
)
from tests.support import factory
from tests.support.database import another, url_of

_Connection = psycopg.Connection[Any]

QUESTS, PARTICIPANTS = "quests_quest", "quests_questparticipant"

CORRECTION = "select * from integrity.event where kind = 'quest_write_corrected' and quest_id = %s"


def corrections(connection: _Connection, quest_id: int) -> int:
    return events(connection, quest_id).count("quest_write_corrected")


def written(status: str, assignee: UUID | None) -> dict[str, Any]:
    return {"quest_status": status, "assigned_to_id": str(assignee) if assignee else None}


# Each writer's belief about a quest that ann and bob take part in: status and assignee, and what is committed.
STRANGER = "stranger"
TAKEN = [
    ("open", "ann", "in-progress", "ann"),
    ("open", None, "in-progress", "ann"),
    ("in-progress", None, "in-progress", "ann"),
    ("open", "bob", "in-progress", "bob"),
    ("in-progress", STRANGER, "in-progress", "ann"),
    ("open", STRANGER, "in-progress", "ann"),
    ("completed", None, "completed", "ann"),
    ("completed", STRANGER, "completed", "ann"),
]
RIGHT = [("in-progress", "ann"), ("in-progress", "bob"), ("completed", "ann"), ("completed", "bob")]
# And about one that nobody takes part in.
FREE = [
    ("in-progress", None, "open"),
    ("in-progress", STRANGER, "open"),
    ("open", STRANGER, "open"),
    ("completed", STRANGER, "completed"),
]


@by_every_update
@pytest.mark.parametrize(("status", "who", "expected_status", "expected_who"), TAKEN)
def test_wrong_write_on_a_taken_quest_is_corrected_and_logged(
    status: str, who: str | None, expected_status: str, expected_who: str, update: Update, migrated: _Connection
) -> None:
    quests = [factory.quest(migrated) for _ in range(2)]
    users = {"ann": factory.user(migrated), "bob": factory.user(migrated), STRANGER: factory.user(migrated)}
    for quest_id in quests:
        for name in ("ann", "bob"):
            factory.participant(migrated, quest_id, users[name])
    migrated.commit()
    assignee = users[who] if who else None

    update(migrated, QUESTS, quests, {"status": status, "assigned_to_id": assignee})

    for quest_id in quests:
        now = state(migrated, quest_id)
        assert (now.status, now.assignee) == (expected_status, users[expected_who])
        logged = one(migrated, CORRECTION, quest_id)
        assert logged["before"] == written(status, assignee)
        assert logged["after"] == written(expected_status, users[expected_who])
    assert_sound(migrated)


@pytest.mark.parametrize(("status", "who"), RIGHT)
def test_right_write_on_a_taken_quest_is_left_alone(status: str, who: str, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    users = {"ann": factory.user(migrated), "bob": factory.user(migrated)}
    for user_id in users.values():
        factory.participant(migrated, quest_id, user_id)

    update_many(migrated, QUESTS, [quest_id], {"status": status, "assigned_to_id": users[who]})

    now = state(migrated, quest_id)
    assert (now.status, now.assignee) == (status, users[who])
    assert events(migrated, quest_id) == []
    assert_sound(migrated)


@by_every_update
@pytest.mark.parametrize(("status", "who", "expected"), FREE)
def test_wrong_write_on_a_free_quest_is_corrected_and_logged(
    status: str, who: str | None, expected: str, update: Update, migrated: _Connection
) -> None:
    """Somebody who was dropped takes part no more."""
    quest_id, stranger = factory.quest(migrated), factory.user(migrated)
    factory.participant(migrated, quest_id, stranger, status="dropped")
    assignee = stranger if who else None
    migrated.commit()

    update(migrated, QUESTS, [quest_id], {"status": status, "assigned_to_id": assignee})

    assert state(migrated, quest_id) == State(expected, None, {}, {stranger: "dropped"})
    logged = one(migrated, CORRECTION, quest_id)
    assert (logged["before"], logged["after"]) == (written(status, assignee), written(expected, None))
    assert_sound(migrated)


@pytest.mark.parametrize("status", ["open", "completed"])
def test_right_write_on_a_free_quest_is_left_alone(status: str, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)

    update_many(migrated, QUESTS, [quest_id], {"status": status})

    assert state(migrated, quest_id) == State(status, None)
    assert events(migrated, quest_id) == []


# A new row has no participants: their foreign key wants the quest first.
NEW = [
    ("open", False, "open"),
    ("in-progress", False, "open"),
    ("in-progress", True, "open"),
    ("open", True, "open"),
    ("completed", True, "completed"),
    ("completed", False, "completed"),
]


@pytest.mark.parametrize("insert", INSERTS, ids=lambda function: function.__name__)
def test_new_quest_is_derived(insert: Insert, migrated: _Connection) -> None:
    user_id, category_id = factory.user(migrated), factory.category(migrated)
    rows = [
        {
            "title": f"Quest {number}",
            "slug": f"new-{number}",
            "status": status,
            "assigned_to_id": user_id if assigned else None,
            "creator_id": user_id,
            "category_id": category_id,
            "created_at": "2025-01-01 00:00+00",
            "updated_at": "2025-01-01 00:00+00",
            "is_deleted": False,
            **dict.fromkeys(["xp_reward", "gold_reward", "commission_fee"], 0),
            **dict.fromkeys(["description", "difficulty", "requirements", "resources"], ""),
        }
        for number, (status, assigned, _) in enumerate(NEW)
    ]
    migrated.commit()

    insert(migrated, QUESTS, rows)

    for number, (status, assigned, expected) in enumerate(NEW):
        quest_id = one(migrated, "select id from quests_quest where slug = %s", f"new-{number}")["id"]
        assert state(migrated, quest_id) == State(expected, None)
        assert corrections(migrated, quest_id) == int(assigned or status != expected)
    assert_sound(migrated)


def test_marker_that_a_new_quest_brings_along_is_put_right(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated, integrity_assigned=True)
    found = migrated.execute("select integrity_assigned from quests_quest where id = %s", [quest_id]).fetchall()
    assert found == [(None,)]


@pytest.mark.parametrize(
    ("table", "marker"),
    [
        ("quests_quest", "integrity_assigned"),
        ("applications_application", "integrity_approved"),
        ("quests_questparticipant", "integrity_active"),
    ],
)
@pytest.mark.parametrize("value", ["true", "false", "null"])
def test_marker_that_is_written_alone_is_put_right(value: str, table: str, marker: str, migrated: _Connection) -> None:
    """Of a free quest, a pending application and a dropped participant, and of those that go together."""
    taken, free = factory.quest(migrated), factory.quest(migrated)
    admit(migrated, taken)
    user_id = factory.user(migrated)
    factory.application(migrated, free, user_id)
    factory.participant(migrated, free, user_id, status="dropped")
    migrated.commit()
    read = f"select id, {marker} from {table} order by id"
    before = migrated.execute(read.encode()).fetchall()
    assert {marked for _, marked in before} == {True, None}

    migrated.execute(f"update {table} set {marker} = {value}".encode())
    migrated.commit()

    assert migrated.execute(read.encode()).fetchall() == before
    assert_sound(migrated)


def test_many_quests_in_one_statement(migrated: _Connection) -> None:
    """Each is derived by itself: free, taken and completed ones, all opened."""
    free, taken, done, both = (factory.quest(migrated) for _ in range(4))
    ann, _, _ = admit(migrated, taken)
    bob, _, _ = admit(migrated, done, "completed")
    update_many(migrated, QUESTS, [done, both], {"status": "completed"})
    migrated.commit()

    migrated.execute("update quests_quest set status = 'open', assigned_to_id = null")

    assert [(state(migrated, each).status, state(migrated, each).assignee) for each in (free, taken, done, both)] == [
        ("open", None),
        ("in-progress", ann),
        # Whoever reopens a completed quest gets it in progress: its participants are still there.
        ("in-progress", bob),
        ("open", None),
    ]
    assert [corrections(migrated, each) for each in (free, taken, done, both)] == [0, 1, 1, 0]
    assert_sound(migrated)


def test_completed_quest_keeps_its_participants(migrated: _Connection) -> None:
    """The app completes them itself and pays rewards when it does."""
    quest_id = factory.quest(migrated)
    ann, _, _ = admit(migrated, quest_id)
    bob, _, _ = admit(migrated, quest_id, "in_progress")

    update_many(migrated, QUESTS, [quest_id], {"status": "completed"})

    now = state(migrated, quest_id)
    assert (now.status, now.assignee) == ("completed", ann)
    assert now.participants == {ann: "joined", bob: "in_progress"}
    assert_sound(migrated)


def test_unassign_is_a_write_that_cannot_be_told_from_a_stale_one(migrated: _Connection) -> None:
    """`unassign()` writes an open quest without assignee: while somebody takes part, they stay the assignee."""
    quest_id = factory.quest(migrated)
    ann, application_id, participant_id = admit(migrated, quest_id)
    migrated.commit()

    update_many(migrated, QUESTS, [quest_id], {"status": "open", "assigned_to_id": None})
    assert state(migrated, quest_id) == State("in-progress", ann, {application_id: "approved"}, {ann: "joined"})
    assert corrections(migrated, quest_id) == 1

    update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped"})
    update_many(migrated, QUESTS, [quest_id], {"status": "open", "assigned_to_id": None})
    assert state(migrated, quest_id) == State("open", None, {application_id: "kicked"}, {ann: "dropped"})
    assert corrections(migrated, quest_id) == 1
    assert_sound(migrated)


def test_the_apps_kick_writes_the_kicked_user_back(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    ann, application_id, participant_id = admit(migrated, quest_id)
    update_many(migrated, "applications_application", [application_id], {"status": "kicked"})
    update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped"})

    migrated.commit()

    update_many(migrated, QUESTS, [quest_id], {"status": "open", "assigned_to_id": ann})

    assert state(migrated, quest_id) == State("open", None, {application_id: "kicked"}, {ann: "dropped"})
    assert one(migrated, CORRECTION, quest_id)["before"] == written("open", ann)
    assert_sound(migrated)


def test_the_apps_approve_writes_a_stale_status_back(migrated: _Connection) -> None:
    """With the right assignee, which is kept, and the status of before the approval."""
    quest_id = factory.quest(migrated)
    admit(migrated, quest_id)
    bob, _, _ = admit(migrated, quest_id)

    update_many(migrated, QUESTS, [quest_id], {"status": "open", "assigned_to_id": bob, "title": "Renamed"})

    now = one(migrated, "select status, assigned_to_id, title from quests_quest where id = %s", quest_id)
    assert now == {"status": "in-progress", "assigned_to_id": bob, "title": "Renamed"}
    assert_sound(migrated)


@pytest.mark.parametrize("column", ["status", "assigned_to_id"])
def test_one_column_alone(column: str, migrated: _Connection) -> None:
    """As `save(update_fields=…)` and the admin write it."""
    quest_id = factory.quest(migrated)
    ann, _, _ = admit(migrated, quest_id)
    migrated.commit()

    update_many(migrated, QUESTS, [quest_id], {column: "open" if column == "status" else None})

    now = state(migrated, quest_id)
    assert (now.status, now.assignee) == ("in-progress", ann)
    assert corrections(migrated, quest_id) == 1


def test_what_the_mechanism_derives_is_no_correction(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    _, first, _ = admit(migrated, quest_id)
    _, second, _ = admit(migrated, quest_id)
    update_many(migrated, "applications_application", [first], {"status": "kicked"})
    update_many(migrated, "applications_application", [second], {"status": "kicked"})

    assert state(migrated, quest_id).status == "open"
    assert corrections(migrated, quest_id) == 0


# A write that only repeats what its own transaction had found would have undone nobody else's work.


def save(connection: _Connection, quest_id: int, status: str, assignee: UUID | None) -> None:
    """Save a quest as some instance of the app has it."""
    update_many(connection, QUESTS, [quest_id], {"status": status, "assigned_to_id": assignee})


def test_approval_and_the_save_of_what_was_loaded_before_it(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    ann, _, _ = admit(migrated, quest_id)

    for status, assignee in (("open", None), ("open", ann), ("in-progress", None)):
        save(migrated, quest_id, status, assignee)

    assert (state(migrated, quest_id).status, state(migrated, quest_id).assignee) == ("in-progress", ann)
    assert corrections(migrated, quest_id) == 0
    assert_sound(migrated)

    save(migrated, quest_id, "open", ann)
    assert corrections(migrated, quest_id) == 1


def test_kick_and_the_save_of_what_was_loaded_before_it(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    ann, application_id, _ = admit(migrated, quest_id)
    migrated.commit()
    update_many(migrated, "applications_application", [application_id], {"status": "kicked"})

    for status, assignee in (("in-progress", ann), ("open", ann), ("in-progress", None)):
        save(migrated, quest_id, status, assignee)

    assert (state(migrated, quest_id).status, state(migrated, quest_id).assignee) == ("open", None)
    assert corrections(migrated, quest_id) == 0
    assert_sound(migrated)

    save(migrated, quest_id, "open", ann)
    assert corrections(migrated, quest_id) == 1


def test_join_and_the_save_of_what_was_loaded_before_it(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    migrated.commit()
    factory.participant(migrated, quest_id, factory.user(migrated))
    save(migrated, quest_id, "open", None)

    assert corrections(migrated, quest_id) == 0
    assert_sound(migrated)


def test_many_quests_in_one_transaction(migrated: _Connection) -> None:
    """All are approved first, and then all are saved: as a script in one transaction does."""
    quests = [factory.quest(migrated) for _ in range(5)]
    for quest_id in quests:
        admit(migrated, quest_id)
    for quest_id in quests:
        save(migrated, quest_id, "open", None)

    assert [corrections(migrated, quest_id) for quest_id in quests] == [0] * 5
    assert_sound(migrated)


def test_approved_and_kicked_in_one_transaction(migrated: _Connection) -> None:
    """What was loaded between the two is the transaction's own work as well."""
    quest_id = factory.quest(migrated)
    ann, application_id, _ = admit(migrated, quest_id)
    update_many(migrated, "applications_application", [application_id], {"status": "kicked"})
    save(migrated, quest_id, "in-progress", ann)

    assert corrections(migrated, quest_id) == 0
    assert_sound(migrated)


def test_what_another_transaction_had_changed_before_is_logged(migrated: _Connection) -> None:
    """Loaded while the quest was open; then ann is approved by somebody, and bob by whoever saves it now."""
    quest_id = factory.quest(migrated)
    admit(migrated, quest_id)
    migrated.commit()
    bob, _, _ = admit(migrated, quest_id)
    save(migrated, quest_id, "open", bob)

    assert state(migrated, quest_id).assignee == bob
    assert one(migrated, CORRECTION, quest_id)["before"] == written("open", bob)
    assert_sound(migrated)


def test_one_column_repeats_and_the_other_does_not(migrated: _Connection) -> None:
    quest_id, stranger = factory.quest(migrated), factory.user(migrated)
    admit(migrated, quest_id)
    save(migrated, quest_id, "open", stranger)

    assert one(migrated, CORRECTION, quest_id)["before"] == written("open", stranger)
    assert_sound(migrated)


def test_repeating_a_write_that_was_corrected_is_a_correction_again(migrated: _Connection) -> None:
    """What was written and overridden was never there."""
    quest_id, stranger = factory.quest(migrated), factory.user(migrated)
    for _ in range(2):
        save(migrated, quest_id, "in-progress", stranger)

    assert corrections(migrated, quest_id) == 2
    assert_sound(migrated)


def test_what_was_found_before_a_savepoint_that_is_rolled_back(migrated: _Connection) -> None:
    """The approval is gone, and with it what it had found."""
    quest_id = factory.quest(migrated)
    ann, _, participant_id = admit(migrated, quest_id)
    migrated.commit()
    with migrated.transaction():
        update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped"})
        save(migrated, quest_id, "in-progress", ann)
        assert corrections(migrated, quest_id) == 0
        raise psycopg.Rollback
    save(migrated, quest_id, "open", ann)
    assert corrections(migrated, quest_id) == 1

    with migrated.transaction():
        update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped"})
    save(migrated, quest_id, "in-progress", ann)
    assert corrections(migrated, quest_id) == 1
    assert_sound(migrated)


def test_another_quests_events_are_not_asked(migrated: _Connection) -> None:
    taken, other = factory.quest(migrated), factory.quest(migrated)
    ann, _, _ = admit(migrated, other)
    migrated.commit()
    admit(migrated, taken)
    save(migrated, other, "open", ann)

    assert corrections(migrated, other) == 1
    assert_sound(migrated)


def test_stale_save_of_another_session_is_logged(migrated: _Connection) -> None:
    """It waits for the approval and comes right after it."""
    quest_id = factory.quest(migrated)
    migrated.commit()
    admit(migrated, quest_id)
    migrated.commit()
    with another(migrated) as session:
        save(session, quest_id, "open", None)
        session.commit()

    assert corrections(migrated, quest_id) == 1
    assert_sound(migrated)


def test_corrected_quest_that_was_right_already_is_written_once(migrated: _Connection) -> None:
    """The correction happens before the row is written, not by a second write."""
    quest_id = factory.quest(migrated)
    admit(migrated, quest_id)
    migrated.commit()

    update_many(migrated, QUESTS, [quest_id], {"status": "open"})

    # Written by the transaction's first command, and by none since.
    current = one(migrated, "select ctid::text, cmin::text, cmax::text from quests_quest where id = %s", quest_id)
    assert current["cmin"] == current["cmax"] == "0"


@pytest.mark.parametrize("soft", [True, False])
def test_soft_deletion_is_left_alone(soft: bool, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated, is_deleted=not soft)
    ann, application_id, participant_id = admit(migrated, quest_id)
    migrated.commit()
    before = version(migrated, PARTICIPANTS, participant_id)

    update_many(migrated, QUESTS, [quest_id], {"is_deleted": soft})
    migrated.commit()

    assert state(migrated, quest_id) == State("in-progress", ann, {application_id: "approved"}, {ann: "joined"})
    assert version(migrated, PARTICIPANTS, participant_id) == before
    assert events(migrated, quest_id) == ["application_approved"]
    assert_sound(migrated)


# Who tried.


def correct(connection: _Connection, quest_id: int) -> dict[str, Any]:
    """Make a wrong write and read its event."""
    update_many(connection, QUESTS, [quest_id], {"status": "in-progress"})
    return one(
        connection,
        "select *, transaction = pg_current_xact_id() as same, at = now() as now"
        " from integrity.event where quest_id = %s and transaction = pg_current_xact_id()",
        quest_id,
    )


def test_the_log_says_which_session_and_program_tried(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    migrated.commit()
    with psycopg.connect(url_of(migrated), application_name="gunicorn: worker") as session:
        logged = correct(session, quest_id)

    assert logged["actor"] == migrated.info.user
    assert logged["application_name"] == "gunicorn: worker"
    assert (logged["user_id"], logged["application_id"], logged["participant_id"]) == (None, None, None)
    assert (logged["same"], logged["now"]) == (True, True)


@pytest.mark.parametrize(
    ("setting", "scope"),
    [("set integrity.actor = 'alice@example.test'", "session"), ("set local integrity.actor = 'alice'", "transaction")],
)
def test_the_app_can_say_who_it_acts_for(setting: LiteralString, scope: str, migrated: _Connection) -> None:
    """For a session or for one transaction; afterwards it is the session's user again."""
    quest_id = factory.quest(migrated)
    migrated.commit()
    with another(migrated) as session:
        session.execute(setting)
        assert correct(session, quest_id)["actor"].startswith("alice")
        session.commit()
        later = correct(session, quest_id)["actor"]

    assert later.startswith("alice") if scope == "session" else later == migrated.info.user


def test_an_empty_actor_is_none(migrated: _Connection) -> None:
    """A setting that was local to a transaction is empty, not absent, after it."""
    quest_id = factory.quest(migrated)
    migrated.execute("set integrity.actor = ''")

    assert correct(migrated, quest_id)["actor"] == migrated.info.user
