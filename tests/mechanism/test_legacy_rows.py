"""Rows that broke the law before there was one, when the mechanism meets them."""

from contextlib import nullcontext
from typing import Any

import psycopg
import pytest

from tests.law.refusal import rules_broken
from tests.mechanism.state import State, assert_sound, events, participant, state, version
from tests.mechanism.statements import Update, by_every_update, delete_many, update_many
from tests.support import factory, plant
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"


# An approval that outlived its participant: the incident's state.


@pytest.mark.parametrize("left_behind", [None, "dropped"])
@by_every_update
def test_old_approval_is_kicked_when_the_pair_is_approved_again(
    update: Update, left_behind: str | None, app_only: _Connection
) -> None:
    """It ended when its participant did. Without that the applicant could never be let in again."""
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    old = factory.application(app_only, quest_id, user_id, status="approved")
    if left_behind:
        factory.participant(app_only, quest_id, user_id, status=left_behind)
    new = factory.application(app_only, quest_id, user_id)
    attach(app_only)
    assert "approved_without_participant" in rules_broken(app_only)
    app_only.commit()

    update(app_only, APPLICATIONS, [new], {"status": "approved"})

    assert state(app_only, quest_id) == State(
        "in-progress", user_id, {old: "kicked", new: "approved"}, {user_id: "joined"}
    )
    assert participant(app_only, quest_id, user_id)["application_id"] == new
    assert events(app_only, quest_id) == ["application_approved", "application_ended"]
    assert_sound(app_only)


@pytest.mark.parametrize("savepoint", [False, True])
@pytest.mark.parametrize("key", ["built", "waits for duplicates"])
@by_every_update
def test_two_new_approvals_beside_old_ones_are_refused(
    update: Update, key: str, savepoint: bool, app_only: _Connection
) -> None:
    """Neither of two that one transaction approves has outlived anything."""
    other_quest, other = factory.quest(app_only), factory.user(app_only)
    for _ in range(2 if key == "waits for duplicates" else 1):
        factory.application(app_only, other_quest, other, status="approved")
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    both = [factory.application(app_only, quest_id, user_id) for _ in range(2)]
    attach(app_only)
    app_only.commit()

    inner = app_only.transaction() if savepoint else nullcontext()
    with pytest.raises(psycopg.errors.UniqueViolation) as refusal, app_only.transaction(), inner:
        update(app_only, APPLICATIONS, both, {"status": "approved"})

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"
    assert state(app_only, quest_id) == State("open", None, dict.fromkeys(both, "pending"))


def test_old_approval_itself_saved_as_approved_stays_as_it_is(app_only: _Connection) -> None:
    """A save that changes nothing is no approval: whether to let the applicant back in is for a repair to say."""
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    old = factory.application(app_only, quest_id, user_id, status="approved")
    attach(app_only)

    update_many(app_only, APPLICATIONS, [old], {"status": "approved"})
    app_only.commit()

    assert state(app_only, quest_id) == State("open", None, {old: "approved"})
    assert events(app_only, quest_id) == []


def test_old_approval_taken_back_and_given_again(app_only: _Connection) -> None:
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    old = factory.application(app_only, quest_id, user_id, status="approved")
    attach(app_only)

    update_many(app_only, APPLICATIONS, [old], {"status": "pending"})
    assert state(app_only, quest_id) == State("open", None, {old: "pending"})
    update_many(app_only, APPLICATIONS, [old], {"status": "approved"})

    assert state(app_only, quest_id) == State("in-progress", user_id, {old: "approved"}, {user_id: "joined"})
    assert_sound(app_only)


@pytest.mark.parametrize("how", ["update", "delete"])
def test_old_approval_that_ends_touches_nobody(how: str, app_only: _Connection) -> None:
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    old = factory.application(app_only, quest_id, user_id, status="approved")
    attach(app_only)

    if how == "update":
        update_many(app_only, APPLICATIONS, [old], {"status": "rejected"})
    else:
        delete_many(app_only, APPLICATIONS, [old])

    assert state(app_only, quest_id) == State("open", None, {old: "rejected"} if how == "update" else {})
    assert_sound(app_only)


def test_joining_directly_heals_an_old_approval(app_only: _Connection) -> None:
    """What was missing is there now."""
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    old = factory.application(app_only, quest_id, user_id, status="approved")
    attach(app_only)

    factory.participant(app_only, quest_id, user_id)

    assert state(app_only, quest_id) == State("in-progress", user_id, {old: "approved"}, {user_id: "joined"})
    assert_sound(app_only)


# Two approvals of one participant.


def test_participant_stays_while_another_old_approval_stands_for_it(app_only: _Connection) -> None:
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    both = [factory.application(app_only, quest_id, user_id, status="approved") for _ in range(2)]
    factory.participant(app_only, quest_id, user_id)
    update_many(app_only, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": user_id})
    attach(app_only)
    assert rules_broken(app_only) == {"duplicate_approval"}

    update_many(app_only, APPLICATIONS, both[:1], {"status": "kicked"})
    assert state(app_only, quest_id).participants == {user_id: "joined"}
    assert_sound(app_only)

    update_many(app_only, APPLICATIONS, both[1:], {"status": "kicked"})
    assert state(app_only, quest_id) == State("open", None, dict.fromkeys(both, "kicked"), {user_id: "dropped"})
    assert_sound(app_only)


def test_both_old_approvals_end_with_their_participant(app_only: _Connection) -> None:
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    both = [factory.application(app_only, quest_id, user_id, status="approved") for _ in range(2)]
    participant_id = factory.participant(app_only, quest_id, user_id)
    update_many(app_only, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": user_id})
    attach(app_only)

    delete_many(app_only, PARTICIPANTS, [participant_id])

    assert state(app_only, quest_id) == State("open", None, dict.fromkeys(both, "kicked"))
    assert_sound(app_only)


# Two participants of one user, where the app's own key was missing.


def duplicates(connection: _Connection, *statuses: str) -> tuple[int, Any, int, list[int]]:
    connection.execute(
        "alter table quests_questparticipant drop constraint quests_questparticipant_quest_id_user_id_3ae0c7f5_uniq"
    )
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id, status="approved")
    ids = [factory.participant(connection, quest_id, user_id, status=status) for status in statuses]
    update_many(connection, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": user_id})
    attach(connection)
    assert "duplicate_participant" in rules_broken(connection)
    connection.commit()
    return quest_id, user_id, application_id, ids


@pytest.mark.parametrize("delete", [True, False])
def test_application_stays_approved_while_a_second_participant_is_active(delete: bool, app_only: _Connection) -> None:
    quest_id, user_id, application_id, ids = duplicates(app_only, "joined", "in_progress")

    if delete:
        delete_many(app_only, PARTICIPANTS, ids[:1])
    else:
        update_many(app_only, PARTICIPANTS, ids[:1], {"status": "dropped"})
    found = state(app_only, quest_id)
    assert (found.status, found.assignee, found.applications) == ("in-progress", user_id, {application_id: "approved"})

    delete_many(app_only, PARTICIPANTS, ids[1:])
    found = state(app_only, quest_id)
    assert (found.status, found.assignee, found.applications) == ("open", None, {application_id: "kicked"})


def test_kick_drops_every_participant_of_the_user(app_only: _Connection) -> None:
    quest_id, user_id, application_id, _ = duplicates(app_only, "joined", "in_progress")

    update_many(app_only, APPLICATIONS, [application_id], {"status": "kicked"})

    statuses = app_only.execute("select distinct status from quests_questparticipant").fetchall()
    assert statuses == [("dropped",)]
    assert state(app_only, quest_id).status == "open"
    assert user_id is not None


def test_approval_uses_the_active_one_of_two_participants(app_only: _Connection) -> None:
    quest_id, user_id, old, (dropped, active) = duplicates(app_only, "dropped", "in_progress")
    before = version(app_only, PARTICIPANTS, dropped)
    update_many(app_only, APPLICATIONS, [old], {"status": "pending"})
    update_many(app_only, PARTICIPANTS, [active], {"status": "in_progress"})

    update_many(app_only, APPLICATIONS, [old], {"status": "approved"})
    app_only.commit()

    assert version(app_only, PARTICIPANTS, dropped) == before
    found = app_only.execute("select application_id from quests_questparticipant where id = %s", [active]).fetchone()
    assert found == (old,)
    assert state(app_only, quest_id).assignee == user_id


# Quests whose status and assignee contradict who takes part.


@pytest.mark.parametrize(
    ("status", "assigned", "joined", "expected_status", "expected_assigned"),
    [
        ("open", True, True, "in-progress", True),
        ("open", True, False, "open", False),
        ("in-progress", False, True, "in-progress", True),
        ("in-progress", False, False, "open", False),
    ],
)
def test_broken_quest_is_healed_by_any_save(
    status: str,
    assigned: bool,
    joined: bool,
    expected_status: str,
    expected_assigned: bool,
    app_only: _Connection,
) -> None:
    """The CHECK would refuse even a change of its title."""
    user_id = factory.user(app_only)
    quest_id = factory.quest(app_only, status=status, assigned_to_id=user_id if assigned else None)
    if joined:
        factory.participant(app_only, quest_id, user_id)
    attach(app_only)
    assert rules_broken(app_only) != set()
    app_only.commit()

    update_many(app_only, QUESTS, [quest_id], {"title": "Renamed"})

    found = state(app_only, quest_id)
    assert (found.status, found.assignee) == (expected_status, user_id if expected_assigned else None)
    assert_sound(app_only)


def test_broken_quest_that_the_check_cannot_see_is_healed_when_its_participants_change(app_only: _Connection) -> None:
    """In progress and assigned, but to a stranger: a save of its title works and leaves it, a join puts it right."""
    stranger, ann = factory.user(app_only), factory.user(app_only)
    quest_id = factory.quest(app_only, status="in-progress", assigned_to_id=stranger)
    attach(app_only)

    update_many(app_only, QUESTS, [quest_id], {"title": "Renamed"})
    app_only.commit()
    assert state(app_only, quest_id) == State("in-progress", stranger)

    factory.participant(app_only, quest_id, ann)
    assert state(app_only, quest_id) == State("in-progress", ann, {}, {ann: "joined"})
    assert_sound(app_only)


def test_approval_assigns_an_open_quest_to_whoever_was_there_first(app_only: _Connection) -> None:
    """An approval takes an open quest for its applicant, then looks who is on it already."""
    quest_id, first, second = factory.quest(app_only), factory.user(app_only), factory.user(app_only)
    factory.participant(app_only, quest_id, first)
    application_id = factory.application(app_only, quest_id, second)
    attach(app_only)
    assert "open_quest_with_participant" in rules_broken(app_only)
    app_only.commit()

    update_many(app_only, APPLICATIONS, [application_id], {"status": "approved"})

    assert state(app_only, quest_id) == State(
        "in-progress", first, {application_id: "approved"}, {first: "joined", second: "joined"}
    )
    logged = app_only.execute("select before, after from integrity.event where quest_id = %s", [quest_id]).fetchall()
    assert logged == [
        (
            {
                "application_status": "pending",
                "participant_status": None,
                "quest_status": "open",
                "assigned_to_id": None,
            },
            {
                "application_status": "approved",
                "participant_status": "joined",
                "quest_status": "in-progress",
                "assigned_to_id": str(first),
            },
        )
    ]
    assert_sound(app_only)


# Unknown statuses, beside known ones: the layer does not attach to tables whose statuses mean something else.


def test_participant_of_unknown_status_takes_part(app_only: _Connection) -> None:
    """It is not 'dropped'; an approval links it and leaves its status alone, and so does the end of that."""
    plant.sound_rows(app_only)
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    factory.participant(app_only, quest_id, user_id, status="paused")
    update_many(app_only, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": user_id})
    application_id = factory.application(app_only, quest_id, user_id)
    attach(app_only)

    update_many(app_only, APPLICATIONS, [application_id], {"status": "approved"})
    app_only.commit()
    assert state(app_only, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "paused"})
    assert rules_broken(app_only) == {"unknown_status"}

    update_many(app_only, APPLICATIONS, [application_id], {"status": "kicked"})
    app_only.commit()
    assert state(app_only, quest_id) == State("in-progress", user_id, {application_id: "kicked"}, {user_id: "paused"})
    assert rules_broken(app_only) == {"unknown_status"}


def test_quest_of_unknown_status_keeps_it_and_is_assigned(app_only: _Connection) -> None:
    plant.sound_rows(app_only)
    quest_id, user_id = factory.quest(app_only, status="archived"), factory.user(app_only)
    attach(app_only)

    application_id = factory.application(app_only, quest_id, user_id, status="approved")
    app_only.commit()

    assert state(app_only, quest_id) == State("archived", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert rules_broken(app_only) == {"unknown_status"}


@pytest.mark.parametrize("status", ["approved", "kicked"])
def test_application_leaves_an_unknown_status(status: str, app_only: _Connection) -> None:
    plant.sound_rows(app_only)
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    application_id = factory.application(app_only, quest_id, user_id, status="archived")
    attach(app_only)

    update_many(app_only, APPLICATIONS, [application_id], {"status": status})

    assert state(app_only, quest_id).participants == ({user_id: "joined"} if status == "approved" else {})
    assert_sound(app_only)
