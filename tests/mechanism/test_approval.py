"""An application becomes approved: its participant is there in the same transaction."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.mechanism.state import (
    State,
    admit,
    application,
    assert_sound,
    events,
    one,
    participant,
    state,
    version,
)
from tests.mechanism.statements import (
    Insert,
    Update,
    by_every_insert,
    by_every_update,
    update_many,
)
from tests.support import factory

_Connection = psycopg.Connection[Any]

APPLIED = datetime(2025, 3, 1, 12, tzinfo=UTC)
REVIEWED = datetime(2025, 3, 2, 12, tzinfo=UTC)
JOINED = datetime(2025, 2, 1, 12, tzinfo=UTC)

# What the applicant was before, and is after; None is nobody.
BEFORE_AND_AFTER = [
    (None, "joined"),
    ("dropped", "joined"),
    ("joined", "joined"),
    ("in_progress", "in_progress"),
    ("completed", "completed"),
]


def row(quest_id: int, user_id: UUID, status: str = "approved") -> dict[str, Any]:
    return {"status": status, "applied_at": APPLIED, "quest_id": quest_id, "applicant_id": user_id}


@by_every_insert
def test_inserted_as_approved(insert: Insert, migrated: _Connection) -> None:
    """Several at once, on quests of their own, one of them with two."""
    first, second, untouched = (factory.quest(migrated) for _ in range(3))
    ann, bob, cid, dan = (factory.user(migrated) for _ in range(4))
    migrated.commit()

    insert(
        migrated,
        "applications_application",
        [row(first, ann), row(second, bob), row(first, cid), row(untouched, dan, "pending")],
    )

    ids = dict(migrated.execute("select applicant_id, id from applications_application").fetchall())
    assert state(migrated, first) == State(
        "in-progress", ann, {ids[ann]: "approved", ids[cid]: "approved"}, {ann: "joined", cid: "joined"}
    )
    assert state(migrated, second) == State("in-progress", bob, {ids[bob]: "approved"}, {bob: "joined"})
    assert state(migrated, untouched) == State("open", None, {ids[dan]: "pending"})
    assert events(migrated, first) == ["application_approved"] * 2
    assert events(migrated, second) == ["application_approved"]
    assert events(migrated, untouched) == []
    assert_sound(migrated)


@by_every_update
def test_updated_to_approved(update: Update, migrated: _Connection) -> None:
    """Several at once, whatever their applicants were before."""
    quests, users, ids = [], [], []
    for before, _ in BEFORE_AND_AFTER:
        quest_id, user_id = factory.quest(migrated), factory.user(migrated)
        if before:
            factory.participant(migrated, quest_id, user_id, status=before)
        quests.append(quest_id)
        users.append(user_id)
        ids.append(factory.application(migrated, quest_id, user_id))
    other = factory.application(migrated, quests[0], factory.user(migrated))
    migrated.commit()

    update(migrated, "applications_application", ids, {"status": "approved"})

    for quest_id, user_id, application_id, (_, after) in zip(quests, users, ids, BEFORE_AND_AFTER, strict=True):
        others = {other: "pending"} if quest_id == quests[0] else {}
        assert state(migrated, quest_id) == State(
            "in-progress", user_id, {application_id: "approved"} | others, {user_id: after}
        )
        assert events(migrated, quest_id) == ["application_approved"]
    assert_sound(migrated)


@pytest.mark.parametrize("before", ["pending", "rejected", "kicked"])
def test_from_every_other_status(before: str, migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, quest_id, user_id, status=before)

    update_many(migrated, "applications_application", [application_id], {"status": "approved"})

    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    logged = one(migrated, "select before, after from integrity.event where quest_id = %s", quest_id)
    assert logged["before"] == {
        "application_status": before,
        "participant_status": None,
        "quest_status": "open",
        "assigned_to_id": None,
    }
    assert logged["after"] == {
        "application_status": "approved",
        "participant_status": "joined",
        "quest_status": "in-progress",
        "assigned_to_id": str(user_id),
    }
    assert_sound(migrated)


def test_new_participant(migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, quest_id, user_id, applied_at=APPLIED, reviewed_at=REVIEWED)

    update_many(migrated, "applications_application", [application_id], {"status": "approved"})

    now = one(migrated, "select now()")["now"]
    found = participant(migrated, quest_id, user_id)
    assert {name: found[name] for name in found if name not in {"id", "integrity_active"}} == {
        "status": "joined",
        "joined_at": now,
        "progress_notes": "",
        "completed_at": None,
        "application_id": None,
        "application_date": None,
        "application_message": None,
        "review_notes": None,
        "reviewed_at": None,
        "quest_id": quest_id,
        "user_id": user_id,
    }
    assert_sound(migrated)


@pytest.mark.parametrize(("before", "after"), BEFORE_AND_AFTER[1:])
def test_existing_participant_keeps_all_but_a_dropped_status(before: str, after: str, migrated: _Connection) -> None:
    """The row stays, with what its user did and what the app's old columns hold."""
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    participant_id = factory.participant(
        migrated,
        quest_id,
        user_id,
        status=before,
        joined_at=JOINED,
        progress_notes="half way",
        completed_at=REVIEWED,
        application_id=987654321,
        application_message="me!",
        review_notes="fine",
    )
    old = participant(migrated, quest_id, user_id)
    application_id = factory.application(migrated, quest_id, user_id, applied_at=APPLIED, reviewed_at=REVIEWED)

    update_many(migrated, "applications_application", [application_id], {"status": "approved"})

    assert participant(migrated, quest_id, user_id) == old | {
        "id": participant_id,
        "status": after,
        "integrity_active": True,
    }
    assert_sound(migrated)


def test_active_participant_is_not_written(migrated: _Connection) -> None:
    """The app creates the participant itself at times, before the application is approved."""
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, quest_id, user_id)
    participant_id = factory.participant(migrated, quest_id, user_id)
    migrated.commit()
    before = version(migrated, "quests_questparticipant", participant_id)

    update_many(migrated, "applications_application", [application_id], {"status": "approved"})
    migrated.commit()

    assert version(migrated, "quests_questparticipant", participant_id) == before
    assert events(migrated, quest_id) == ["application_approved"]
    assert_sound(migrated)


def test_review_time_is_the_apps_own(migrated: _Connection) -> None:
    """The layer neither reads nor writes it."""
    quest_id = factory.quest(migrated)
    updated = factory.application(migrated, quest_id, factory.user(migrated))
    given = factory.application(migrated, quest_id, factory.user(migrated))

    update_many(migrated, "applications_application", [updated], {"status": "approved"})
    update_many(migrated, "applications_application", [given], {"status": "approved", "reviewed_at": REVIEWED})

    assert application(migrated, updated)["reviewed_at"] is None
    assert application(migrated, given)["reviewed_at"] == REVIEWED


@pytest.mark.parametrize("end", ["kick", "drop", "delete"])
def test_reapplication(end: str, migrated: _Connection) -> None:
    """Whoever was in and may apply again is let in again, as the same participant if the row is still there."""
    quest_id = factory.quest(migrated)
    user_id, first, participant_id = admit(migrated, quest_id)
    if end == "kick":
        update_many(migrated, "applications_application", [first], {"status": "kicked"})
    elif end == "drop":
        update_many(migrated, "quests_questparticipant", [participant_id], {"status": "dropped"})
    else:
        migrated.execute("delete from quests_questparticipant where id = %s", [participant_id])
    assert state(migrated, quest_id) == State(
        "open", None, {first: "kicked"}, {} if end == "delete" else {user_id: "dropped"}
    )
    migrated.commit()

    second = factory.application(migrated, quest_id, user_id, applied_at=APPLIED)
    update_many(migrated, "applications_application", [second], {"status": "approved"})

    assert state(migrated, quest_id) == State(
        "in-progress", user_id, {first: "kicked", second: "approved"}, {user_id: "joined"}
    )
    found = participant(migrated, quest_id, user_id)
    assert (found["id"] == participant_id) == (end != "delete")
    assert_sound(migrated)


def test_the_same_application_approved_again_after_a_kick(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, application_id, participant_id = admit(migrated, quest_id)
    update_many(migrated, "applications_application", [application_id], {"status": "kicked"})

    update_many(migrated, "applications_application", [application_id], {"status": "approved"})

    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert participant(migrated, quest_id, user_id)["id"] == participant_id
    assert_sound(migrated)


def test_approval_saved_again_does_nothing(migrated: _Connection) -> None:
    """Django saves whole rows: most saves of an approved application are about something else."""
    quest_id = factory.quest(migrated)
    _, application_id, participant_id = admit(migrated, quest_id)
    migrated.commit()
    before = [
        version(migrated, "quests_quest", quest_id),
        version(migrated, "quests_questparticipant", participant_id),
    ]

    update_many(
        migrated,
        "applications_application",
        [application_id],
        {"status": "approved", "reviewed_at": REVIEWED, "quest_id": quest_id},
    )
    migrated.commit()

    assert events(migrated, quest_id) == ["application_approved"]
    assert before == [
        version(migrated, "quests_quest", quest_id),
        version(migrated, "quests_questparticipant", participant_id),
    ]


def test_other_pending_applications_stay_pending(migrated: _Connection) -> None:
    """Rejecting them is the app's business: it notifies people when it does."""
    quest_id = factory.quest(migrated)
    waiting = [factory.application(migrated, quest_id, factory.user(migrated)) for _ in range(3)]

    update_many(migrated, "applications_application", waiting[:1], {"status": "approved"})

    assert [application(migrated, each)["status"] for each in waiting] == ["approved", "pending", "pending"]


@pytest.mark.parametrize("status", ["open", "completed"])
def test_approval_on_a_soft_deleted_or_completed_quest(status: str, migrated: _Connection) -> None:
    """No different: soft deletion is no concern of the layer, and completed stays completed."""
    quest_id = factory.quest(migrated, status=status, is_deleted=True)
    user_id, application_id, _ = admit(migrated, quest_id)

    assert state(migrated, quest_id) == State(
        "in-progress" if status == "open" else "completed", user_id, {application_id: "approved"}, {user_id: "joined"}
    )
    assert_sound(migrated)


def test_second_approval_leaves_everything_as_it_was(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, _, _ = admit(migrated, quest_id)
    second = factory.application(migrated, quest_id, user_id)
    migrated.commit()
    before = state(migrated, quest_id), participant(migrated, quest_id, user_id), events(migrated, quest_id)

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal, migrated.transaction():
        update_many(migrated, "applications_application", [second], {"status": "approved"})

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"
    assert before == (state(migrated, quest_id), participant(migrated, quest_id, user_id), events(migrated, quest_id))


def test_approval_replaced_within_one_transaction(migrated: _Connection) -> None:
    """The old one ends first, as a unique key wants it."""
    quest_id = factory.quest(migrated)
    user_id, first, participant_id = admit(migrated, quest_id)
    second = factory.application(migrated, quest_id, user_id)
    migrated.commit()

    update_many(migrated, "applications_application", [first], {"status": "rejected"})
    update_many(migrated, "applications_application", [second], {"status": "approved"})
    migrated.commit()

    found = participant(migrated, quest_id, user_id)
    assert (found["id"], found["status"]) == (participant_id, "joined")
    assert_sound(migrated)


@by_every_update
def test_both_applications_of_one_user_at_once_are_refused(update: Update, migrated: _Connection) -> None:
    """One statement or two: neither of the two becomes approved, and none is ended behind the client's back."""
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    both = [factory.application(migrated, quest_id, user_id) for _ in range(2)]
    migrated.commit()

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal, migrated.transaction():
        update(migrated, "applications_application", both, {"status": "approved"})

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"
    assert state(migrated, quest_id) == State("open", None, dict.fromkeys(both, "pending"))


@pytest.mark.parametrize("target", ["(id)", ""])
def test_insert_on_conflict_do_nothing(target: str, migrated: _Connection) -> None:
    """As `bulk_create(ignore_conflicts=True)` sends it, and scripts that may run twice."""
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)

    migrated.execute(
        "insert into applications_application (status, applied_at, quest_id, applicant_id)"
        f" values ('approved', now(), %s, %s) on conflict {target} do nothing",
        [quest_id, user_id],
    )

    assert state(migrated, quest_id).participants == {user_id: "joined"}
    assert_sound(migrated)
