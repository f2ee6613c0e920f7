"""An application stops being approved, goes, or moves: the participant it stood for is dropped."""

from typing import Any

import psycopg
import pytest

from tests.mechanism.state import State, admit, assert_sound, events, one, participant, state, version
from tests.mechanism.statements import (
    Delete,
    Update,
    by_every_delete,
    by_every_update,
    delete_many,
    update_many,
)
from tests.support import factory

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS = "applications_application", "quests_questparticipant"

# Whose place an approval held ends with it; work that is done stays done.
BEFORE_AND_AFTER = [("joined", "dropped"), ("in_progress", "dropped"), ("completed", "completed")]

every_other_status = pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])


@every_other_status
@by_every_update
def test_updated(update: Update, status: str, migrated: _Connection) -> None:
    """Several at once, on quests of their own and on one that they share."""
    single = [(factory.quest(migrated), before, after) for before, after in BEFORE_AND_AFTER]
    admitted = [admit(migrated, quest_id, before) for quest_id, before, _ in single]
    shared = factory.quest(migrated)
    ann, stays, _ = admit(migrated, shared)
    bob, goes, _ = admit(migrated, shared)
    migrated.commit()

    update(migrated, APPLICATIONS, [goes, *(ids[1] for ids in admitted)], {"status": status})

    for (quest_id, before, after), (user_id, application_id, _) in zip(single, admitted, strict=True):
        left = ("open", None) if after == "dropped" else ("in-progress", user_id)
        assert state(migrated, quest_id) == State(*left, {application_id: status}, {user_id: after})
        ended = ["application_ended"] + ["participant_dropped"] * (before != after)
        assert events(migrated, quest_id) == ["application_approved", *ended]
    assert state(migrated, shared) == State(
        "in-progress", ann, {stays: "approved", goes: status}, {ann: "joined", bob: "dropped"}
    )
    assert_sound(migrated)


@by_every_delete
def test_deleted(delete: Delete, migrated: _Connection) -> None:
    single = [(factory.quest(migrated), before, after) for before, after in BEFORE_AND_AFTER]
    admitted = [admit(migrated, quest_id, before) for quest_id, before, _ in single]
    shared = factory.quest(migrated)
    ann, stays, _ = admit(migrated, shared)
    bob, goes, _ = admit(migrated, shared)
    migrated.commit()

    delete(migrated, APPLICATIONS, [goes, *(ids[1] for ids in admitted)])

    for (quest_id, _, after), (user_id, _, _) in zip(single, admitted, strict=True):
        left = ("open", None) if after == "dropped" else ("in-progress", user_id)
        assert state(migrated, quest_id) == State(*left, {}, {user_id: after})
    assert state(migrated, shared) == State("in-progress", ann, {stays: "approved"}, {ann: "joined", bob: "dropped"})
    assert_sound(migrated)


def test_assignee_who_is_kicked_is_followed_by_the_next(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    ann, first, _ = admit(migrated, quest_id)
    bob, second, _ = admit(migrated, quest_id)

    update_many(migrated, APPLICATIONS, [first], {"status": "kicked"})

    assert state(migrated, quest_id) == State(
        "in-progress", bob, {first: "kicked", second: "approved"}, {ann: "dropped", bob: "joined"}
    )
    assert_sound(migrated)


def test_the_end_is_logged_with_what_it_was_and_became(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, kicked, _ = admit(migrated, quest_id)
    update_many(migrated, APPLICATIONS, [kicked], {"status": "kicked"})
    deleted = factory.application(migrated, quest_id, user_id, status="approved")
    delete_many(migrated, APPLICATIONS, [deleted])

    query = (
        "select user_id, application_id, before, after from integrity.event"
        " where kind = 'application_ended' and application_id = %s"
    )
    assert one(migrated, query, kicked) == {
        "user_id": user_id,
        "application_id": kicked,
        "before": {"application_status": "approved"},
        "after": {"application_status": "kicked"},
    }
    assert one(migrated, query, deleted) == {
        "user_id": user_id,
        "application_id": deleted,
        "before": {"application_status": "approved"},
        "after": {"application_status": None},
    }


@pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])
def test_deleting_another_application_of_the_participant_changes_nothing(status: str, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, application_id, _ = admit(migrated, quest_id)
    other = factory.application(migrated, quest_id, user_id, status=status)
    migrated.commit()

    delete_many(migrated, APPLICATIONS, [other])

    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert events(migrated, quest_id) == ["application_approved"]


@every_other_status
def test_between_other_statuses_nothing_happens(status: str, migrated: _Connection) -> None:
    """Also when the applicant takes part directly: that place is not the application's."""
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    factory.participant(migrated, quest_id, user_id)
    ids = [
        factory.application(migrated, quest_id, user_id, status=before) for before in ("pending", "rejected", "kicked")
    ]

    update_many(migrated, APPLICATIONS, ids, {"status": status})

    assert state(migrated, quest_id).participants == {user_id: "joined"}
    assert events(migrated, quest_id) == []
    assert_sound(migrated)


def test_direct_participant_who_was_approved_is_dropped_too(migrated: _Connection) -> None:
    """With the approval they became the application's participant."""
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    factory.participant(migrated, quest_id, user_id)
    application_id = factory.application(migrated, quest_id, user_id, status="approved")

    update_many(migrated, APPLICATIONS, [application_id], {"status": "rejected"})

    assert state(migrated, quest_id) == State("open", None, {application_id: "rejected"}, {user_id: "dropped"})
    assert_sound(migrated)


def test_dropping_keeps_what_the_participant_did(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, application_id, participant_id = admit(migrated, quest_id, "in_progress")
    update_many(migrated, PARTICIPANTS, [participant_id], {"progress_notes": "half way"})
    before = participant(migrated, quest_id, user_id)

    update_many(migrated, APPLICATIONS, [application_id], {"status": "kicked"})

    assert participant(migrated, quest_id, user_id) == before | {"status": "dropped", "integrity_active": None}


@by_every_update
def test_moved_to_another_quest(update: Update, migrated: _Connection) -> None:
    old, new = factory.quest(migrated), factory.quest(migrated)
    user_id, application_id, _ = admit(migrated, old)
    migrated.commit()

    update(migrated, APPLICATIONS, [application_id], {"quest_id": new})

    assert state(migrated, old) == State("open", None, {}, {user_id: "dropped"})
    assert state(migrated, new) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert events(migrated, old) == ["application_approved", "application_ended", "participant_dropped"]
    assert events(migrated, new) == ["application_approved"]
    assert_sound(migrated)


@by_every_update
def test_given_to_another_applicant(update: Update, migrated: _Connection) -> None:
    quest_id, bob = factory.quest(migrated), factory.user(migrated)
    ann, application_id, _ = admit(migrated, quest_id)
    migrated.commit()

    update(migrated, APPLICATIONS, [application_id], {"applicant_id": bob})

    assert state(migrated, quest_id) == State(
        "in-progress", bob, {application_id: "approved"}, {ann: "dropped", bob: "joined"}
    )
    assert_sound(migrated)


def test_moved_to_another_quest_and_applicant(migrated: _Connection) -> None:
    old, new, bob = factory.quest(migrated), factory.quest(migrated), factory.user(migrated)
    ann, application_id, _ = admit(migrated, old)

    update_many(migrated, APPLICATIONS, [application_id], {"quest_id": new, "applicant_id": bob})

    assert state(migrated, old) == State("open", None, {}, {ann: "dropped"})
    assert state(migrated, new) == State("in-progress", bob, {application_id: "approved"}, {bob: "joined"})
    assert_sound(migrated)


@every_other_status
def test_moved_and_ended_at_once(status: str, migrated: _Connection) -> None:
    old, new = factory.quest(migrated), factory.quest(migrated)
    user_id, application_id, _ = admit(migrated, old)

    update_many(migrated, APPLICATIONS, [application_id], {"quest_id": new, "status": status})

    assert state(migrated, old) == State("open", None, {}, {user_id: "dropped"})
    assert state(migrated, new) == State("open", None, {application_id: status})
    assert_sound(migrated)


def test_moved_and_approved_at_once(migrated: _Connection) -> None:
    old, new, user_id = factory.quest(migrated), factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, old, user_id)

    update_many(migrated, APPLICATIONS, [application_id], {"quest_id": new, "status": "approved"})

    assert state(migrated, old) == State("open", None)
    assert state(migrated, new) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert events(migrated, old) == []
    assert_sound(migrated)


def test_moved_while_pending(migrated: _Connection) -> None:
    old, new, user_id = factory.quest(migrated), factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, old, user_id)

    update_many(migrated, APPLICATIONS, [application_id], {"quest_id": new})

    assert state(migrated, new) == State("open", None, {application_id: "pending"})
    assert events(migrated, old) == events(migrated, new) == []


def test_moved_onto_an_approval_is_refused(migrated: _Connection) -> None:
    old, new = factory.quest(migrated), factory.quest(migrated)
    user_id, _, _ = admit(migrated, old)
    moved = factory.application(migrated, new, user_id, status="approved")
    migrated.commit()

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal, migrated.transaction():
        update_many(migrated, APPLICATIONS, [moved], {"quest_id": old})

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"
    assert state(migrated, new).applications == {moved: "approved"}


def test_two_applicants_change_places(migrated: _Connection) -> None:
    """One statement moves each of two approvals to the other's quest."""
    one_quest, other_quest = factory.quest(migrated), factory.quest(migrated)
    ann, first, _ = admit(migrated, one_quest)
    bob, second, _ = admit(migrated, other_quest)

    migrated.execute(
        "update applications_application set quest_id = case quest_id when %(one)s then %(other)s else %(one)s end",
        {"one": one_quest, "other": other_quest},
    )

    assert state(migrated, one_quest) == State(
        "in-progress", bob, {second: "approved"}, {ann: "dropped", bob: "joined"}
    )
    assert state(migrated, other_quest) == State(
        "in-progress", ann, {first: "approved"}, {bob: "dropped", ann: "joined"}
    )
    assert_sound(migrated)


def test_completed_quest_keeps_its_status_when_a_participant_is_kicked(migrated: _Connection) -> None:
    """But nobody who was dropped stays its assignee."""
    quest_id = factory.quest(migrated)
    user_id, application_id, _ = admit(migrated, quest_id)
    update_many(migrated, "quests_quest", [quest_id], {"status": "completed"})

    update_many(migrated, APPLICATIONS, [application_id], {"status": "kicked"})

    assert state(migrated, quest_id) == State("completed", None, {application_id: "kicked"}, {user_id: "dropped"})
    assert_sound(migrated)


def test_ending_what_has_ended_writes_nothing(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    _, application_id, participant_id = admit(migrated, quest_id)
    update_many(migrated, APPLICATIONS, [application_id], {"status": "kicked"})
    migrated.commit()
    before = version(migrated, "quests_quest", quest_id), version(migrated, PARTICIPANTS, participant_id)

    update_many(migrated, APPLICATIONS, [application_id], {"status": "rejected"})
    migrated.commit()

    assert before == (version(migrated, "quests_quest", quest_id), version(migrated, PARTICIPANTS, participant_id))
