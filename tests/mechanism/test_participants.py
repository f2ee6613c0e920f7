"""Participants come, go and move: the quest is derived, and the application of who went is kicked."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.mechanism.state import State, admit, assert_sound, events, one, participant, state, version
from tests.mechanism.statements import (
    Delete,
    Insert,
    Update,
    by_every_delete,
    by_every_insert,
    by_every_update,
    delete_many,
    insert_many,
    update_many,
)
from tests.support import factory

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"
EARLY, LATE = datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)


def row(quest_id: int, user_id: UUID, status: str = "joined", joined_at: datetime = EARLY) -> dict[str, Any]:
    return {
        "status": status,
        "joined_at": joined_at,
        "progress_notes": "",
        "quest_id": quest_id,
        "user_id": user_id,
    }


# Coming.


@by_every_insert
def test_inserted(insert: Insert, migrated: _Connection) -> None:
    """Joining without an application is the app's right; the quest follows."""
    joined, dropped, worked, done = (factory.quest(migrated) for _ in range(4))
    ann, bob, cid, dan, eve = (factory.user(migrated) for _ in range(5))
    migrated.commit()

    insert(
        migrated,
        PARTICIPANTS,
        [
            row(joined, ann, joined_at=EARLY),
            row(joined, bob, joined_at=LATE),
            row(dropped, cid, "dropped"),
            row(worked, dan, "in_progress"),
            row(done, eve, "completed"),
        ],
    )

    assert state(migrated, joined) == State("in-progress", ann, {}, {ann: "joined", bob: "joined"})
    assert state(migrated, dropped) == State("open", None, {}, {cid: "dropped"})
    assert state(migrated, worked) == State("in-progress", dan, {}, {dan: "in_progress"})
    assert state(migrated, done) == State("in-progress", eve, {}, {eve: "completed"})
    assert [events(migrated, quest_id) for quest_id in (joined, dropped, worked, done)] == [[]] * 4
    assert_sound(migrated)


def test_insert_that_meets_the_participant_and_does_nothing(migrated: _Connection) -> None:
    """INSERT … ON CONFLICT DO NOTHING, with and without a target, as `bulk_create(ignore_conflicts=True)` sends it."""
    quest_id = factory.quest(migrated)
    user_id, application_id, participant_id = admit(migrated, quest_id)
    migrated.commit()
    before = version(migrated, QUESTS, quest_id), version(migrated, PARTICIPANTS, participant_id)

    for target in ("", "(quest_id, user_id)"):
        migrated.execute(
            "insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)"
            f" values ('dropped', now(), '', %s, %s) on conflict {target} do nothing",
            [quest_id, user_id],
        )
    migrated.commit()

    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert before == (version(migrated, QUESTS, quest_id), version(migrated, PARTICIPANTS, participant_id))


@pytest.mark.parametrize(("written", "application_status"), [("dropped", "kicked"), ("completed", "approved")])
def test_upsert_on_the_pair(written: str, application_status: str, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, application_id, _ = admit(migrated, quest_id)

    migrated.execute(
        "insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)"
        " values (%s, now(), '', %s, %s) on conflict (quest_id, user_id) do update set status = excluded.status",
        [written, quest_id, user_id],
    )

    left = ("open", None) if written == "dropped" else ("in-progress", user_id)
    assert state(migrated, quest_id) == State(*left, {application_id: application_status}, {user_id: written})
    assert_sound(migrated)


@by_every_update
@pytest.mark.parametrize("status", ["joined", "in_progress", "completed"])
def test_dropped_participants_come_back(status: str, update: Update, migrated: _Connection) -> None:
    """By their own doing: the application that was kicked stays kicked."""
    quests = [factory.quest(migrated) for _ in range(2)]
    admitted = [admit(migrated, quest_id) for quest_id in quests]
    update_many(migrated, APPLICATIONS, [ids[1] for ids in admitted], {"status": "kicked"})
    migrated.commit()

    update(migrated, PARTICIPANTS, [ids[2] for ids in admitted], {"status": status})

    for quest_id, (user_id, application_id, _) in zip(quests, admitted, strict=True):
        assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "kicked"}, {user_id: status})
    assert_sound(migrated)


# Going.


@by_every_update
@pytest.mark.parametrize("before", ["joined", "in_progress", "completed"])
def test_dropped(before: str, update: Update, migrated: _Connection) -> None:
    """With and without an application, alone on a quest and with others."""
    alone, shared, direct = (factory.quest(migrated) for _ in range(3))
    ann, lone, first = admit(migrated, alone, before)
    bob, stays, _ = admit(migrated, shared)
    cid, goes, second = admit(migrated, shared, before)
    dan = factory.user(migrated)
    third = factory.participant(migrated, direct, dan, status=before)
    migrated.commit()

    update(migrated, PARTICIPANTS, [first, second, third], {"status": "dropped"})

    assert state(migrated, alone) == State("open", None, {lone: "kicked"}, {ann: "dropped"})
    assert state(migrated, shared) == State(
        "in-progress", bob, {stays: "approved", goes: "kicked"}, {bob: "joined", cid: "dropped"}
    )
    assert state(migrated, direct) == State("open", None, {}, {dan: "dropped"})
    assert events(migrated, alone) == ["application_approved", "application_ended", "participant_dropped"]
    assert events(migrated, direct) == ["participant_dropped"]
    assert_sound(migrated)


@by_every_delete
@pytest.mark.parametrize("before", ["joined", "in_progress", "completed"])
def test_deleted(before: str, delete: Delete, migrated: _Connection) -> None:
    """The incident: leaving deletes the row and used to leave the application approved."""
    alone, shared, direct = (factory.quest(migrated) for _ in range(3))
    _, lone, first = admit(migrated, alone, before)
    bob, stays, _ = admit(migrated, shared)
    _, goes, second = admit(migrated, shared, before)
    third = factory.participant(migrated, direct, factory.user(migrated), status=before)
    migrated.commit()

    delete(migrated, PARTICIPANTS, [first, second, third])

    assert state(migrated, alone) == State("open", None, {lone: "kicked"})
    assert state(migrated, shared) == State("in-progress", bob, {stays: "approved", goes: "kicked"}, {bob: "joined"})
    assert state(migrated, direct) == State("open", None)
    assert events(migrated, alone) == ["application_approved", "application_ended", "participant_dropped"]
    assert_sound(migrated)


def test_deleting_a_dropped_participant_changes_nothing_else(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    ann, first, _ = admit(migrated, quest_id)
    _, second, gone = admit(migrated, quest_id)
    update_many(migrated, PARTICIPANTS, [gone], {"status": "dropped"})
    migrated.commit()
    before = version(migrated, QUESTS, quest_id)

    delete_many(migrated, PARTICIPANTS, [gone])
    migrated.commit()

    assert state(migrated, quest_id) == State(
        "in-progress", ann, {first: "approved", second: "kicked"}, {ann: "joined"}
    )
    assert version(migrated, QUESTS, quest_id) == before
    assert_sound(migrated)


@pytest.mark.parametrize("status", ["pending", "rejected", "kicked"])
def test_only_the_approved_application_is_kicked(status: str, migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    user_id, approved, participant_id = admit(migrated, quest_id)
    other = factory.application(migrated, quest_id, user_id, status=status)
    elsewhere = factory.quest(migrated)
    there = factory.application(migrated, elsewhere, user_id, status="approved")

    update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped"})

    assert state(migrated, quest_id).applications == {approved: "kicked", other: status}
    assert state(migrated, elsewhere).applications == {there: "approved"}
    assert_sound(migrated)


def test_the_drop_is_logged_with_what_it_was_and_became(migrated: _Connection) -> None:
    quest_id = factory.quest(migrated)
    ann, _, dropped = admit(migrated, quest_id, "in_progress")
    bob, _, deleted = admit(migrated, quest_id)
    update_many(migrated, PARTICIPANTS, [dropped], {"status": "dropped"})
    delete_many(migrated, PARTICIPANTS, [deleted])

    query = (
        "select user_id, before -> 'participant_status' as before, after -> 'participant_status' as after"
        " from integrity.event where kind = 'participant_dropped' and participant_id = %s"
    )
    assert one(migrated, query, dropped) == {
        "user_id": ann,
        "before": "in_progress",
        "after": "dropped",
    }
    assert one(migrated, query, deleted) == {
        "user_id": bob,
        "before": "joined",
        "after": None,
    }


# Moving.


@by_every_update
def test_moved_to_another_quest(update: Update, migrated: _Connection) -> None:
    """For the old quest they are gone; on the new one they take part without an application."""
    old, new = factory.quest(migrated), factory.quest(migrated)
    user_id, application_id, participant_id = admit(migrated, old)
    migrated.commit()

    update(migrated, PARTICIPANTS, [participant_id], {"quest_id": new})

    assert state(migrated, old) == State("open", None, {application_id: "kicked"})
    assert state(migrated, new) == State("in-progress", user_id, {}, {user_id: "joined"})
    assert_sound(migrated)


@by_every_update
def test_given_to_another_user(update: Update, migrated: _Connection) -> None:
    quest_id, bob = factory.quest(migrated), factory.user(migrated)
    _, application_id, participant_id = admit(migrated, quest_id)
    migrated.commit()

    update(migrated, PARTICIPANTS, [participant_id], {"user_id": bob})

    assert state(migrated, quest_id) == State("in-progress", bob, {application_id: "kicked"}, {bob: "joined"})
    assert_sound(migrated)


def test_moved_and_dropped_at_once(migrated: _Connection) -> None:
    old, new = factory.quest(migrated), factory.quest(migrated)
    user_id, application_id, participant_id = admit(migrated, old)

    update_many(migrated, PARTICIPANTS, [participant_id], {"quest_id": new, "status": "dropped"})

    assert state(migrated, old) == State("open", None, {application_id: "kicked"})
    assert state(migrated, new) == State("open", None, {}, {user_id: "dropped"})
    assert_sound(migrated)


def test_moved_and_back_at_once(migrated: _Connection) -> None:
    """A dropped participant who is moved to another quest and active there."""
    old, new, user_id = factory.quest(migrated), factory.quest(migrated), factory.user(migrated)
    participant_id = factory.participant(migrated, old, user_id, status="dropped")

    update_many(migrated, PARTICIPANTS, [participant_id], {"quest_id": new, "status": "joined"})

    assert state(migrated, old) == State("open", None)
    assert state(migrated, new) == State("in-progress", user_id, {}, {user_id: "joined"})
    assert_sound(migrated)


def test_moved_while_dropped(migrated: _Connection) -> None:
    old, new, user_id = factory.quest(migrated), factory.quest(migrated), factory.user(migrated)
    participant_id = factory.participant(migrated, old, user_id, status="dropped")

    update_many(migrated, PARTICIPANTS, [participant_id], {"quest_id": new})

    assert state(migrated, new) == State("open", None, {}, {user_id: "dropped"})
    assert events(migrated, old) == events(migrated, new) == []


def test_moved_to_where_an_application_is_pending(migrated: _Connection) -> None:
    """Nobody approved it, so it stays pending."""
    old, new = factory.quest(migrated), factory.quest(migrated)
    user_id, _, participant_id = admit(migrated, old)
    pending = factory.application(migrated, new, user_id)

    update_many(migrated, PARTICIPANTS, [participant_id], {"quest_id": new})

    assert state(migrated, new) == State("in-progress", user_id, {pending: "pending"}, {user_id: "joined"})
    assert_sound(migrated)


def test_all_participants_of_a_quest_move_together(migrated: _Connection) -> None:
    old, new = factory.quest(migrated), factory.quest(migrated)
    admitted = [admit(migrated, old) for _ in range(3)]

    update_many(migrated, PARTICIPANTS, [ids[2] for ids in admitted], {"quest_id": new})

    assert state(migrated, old) == State("open", None, {ids[1]: "kicked" for ids in admitted})
    assert state(migrated, new).participants == {ids[0]: "joined" for ids in admitted}
    assert state(migrated, new).status == "in-progress"
    assert_sound(migrated)


# Who becomes assignee.


def crew(connection: _Connection, *joined_at: datetime) -> tuple[int, list[UUID], list[int]]:
    """Make a quest with participants who joined at these times; returns quest, users and participants."""
    quest_id = factory.quest(connection)
    users = [factory.user(connection) for _ in joined_at]
    ids = [
        factory.participant(connection, quest_id, user_id, joined_at=moment)
        for user_id, moment in zip(users, joined_at, strict=True)
    ]
    return quest_id, users, ids


def assignee(connection: _Connection, quest_id: int) -> UUID | None:
    return state(connection, quest_id).assignee


def test_the_assignee_stays_while_active(migrated: _Connection) -> None:
    """An earlier joined_at does not unseat anybody."""
    quest_id, (ann, *_), (first, *_) = crew(migrated, LATE, EARLY)
    assert assignee(migrated, quest_id) == ann

    update_many(migrated, PARTICIPANTS, [first], {"status": "in_progress"})
    factory.participant(migrated, quest_id, factory.user(migrated), joined_at=EARLY)
    update_many(migrated, PARTICIPANTS, [first], {"status": "completed"})

    assert assignee(migrated, quest_id) == ann


def test_of_those_inserted_together_the_earliest_to_have_joined_becomes_assignee(migrated: _Connection) -> None:
    """The triggers of one statement see all of its rows."""
    quest_id, ann, bob = factory.quest(migrated), factory.user(migrated), factory.user(migrated)

    insert_many(migrated, PARTICIPANTS, [row(quest_id, ann, joined_at=LATE), row(quest_id, bob, joined_at=EARLY)])

    assert assignee(migrated, quest_id) == bob


@pytest.mark.parametrize("how", ["drop", "delete", "move", "give"])
def test_the_earliest_to_have_joined_follows(how: str, migrated: _Connection) -> None:
    quest_id, (_, _, _, cid), (first, *_) = crew(migrated, EARLY, LATE, datetime(2026, 1, 1, tzinfo=UTC), EARLY)

    if how == "drop":
        update_many(migrated, PARTICIPANTS, [first], {"status": "dropped"})
    elif how == "delete":
        delete_many(migrated, PARTICIPANTS, [first])
    elif how == "move":
        update_many(migrated, PARTICIPANTS, [first], {"quest_id": factory.quest(migrated)})
    else:
        update_many(migrated, PARTICIPANTS, [first], {"user_id": factory.user(migrated), "joined_at": LATE})

    assert assignee(migrated, quest_id) == cid
    assert_sound(migrated)


def test_of_those_who_joined_at_the_same_time_the_lowest_id_follows(migrated: _Connection) -> None:
    """In whatever order the table holds them."""
    quest_id, (_, bob, _), (first, second, third) = crew(migrated, EARLY, LATE, LATE)
    update_many(migrated, PARTICIPANTS, [second], {"progress_notes": "moves the row behind the third"})
    assert second < third

    delete_many(migrated, PARTICIPANTS, [first])

    assert assignee(migrated, quest_id) == bob


def test_dropped_participants_do_not_follow(migrated: _Connection) -> None:
    quest_id, (_, _, cid), (first, second, _) = crew(migrated, EARLY, EARLY, LATE)
    update_many(migrated, PARTICIPANTS, [second], {"status": "dropped"})

    delete_many(migrated, PARTICIPANTS, [first])

    assert assignee(migrated, quest_id) == cid


def test_completed_participants_do_follow(migrated: _Connection) -> None:
    quest_id, (_, bob, _), (first, second, _) = crew(migrated, EARLY, EARLY, LATE)
    update_many(migrated, PARTICIPANTS, [second], {"status": "completed"})

    delete_many(migrated, PARTICIPANTS, [first])

    assert assignee(migrated, quest_id) == bob


def test_one_after_the_other_until_nobody_is_left(migrated: _Connection) -> None:
    quest_id, users, ids = crew(migrated, EARLY, EARLY, EARLY)

    for user_id, participant_id in zip(users, ids, strict=True):
        assert (state(migrated, quest_id).status, assignee(migrated, quest_id)) == ("in-progress", user_id)
        update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped"})

    assert state(migrated, quest_id) == State("open", None, {}, dict.fromkeys(users, "dropped"))
    assert_sound(migrated)


def test_all_at_once(migrated: _Connection) -> None:
    quest_id, _, ids = crew(migrated, EARLY, EARLY, LATE)

    delete_many(migrated, PARTICIPANTS, ids)

    assert state(migrated, quest_id) == State("open", None)
    assert_sound(migrated)


def test_completed_quest_gets_the_next_assignee(migrated: _Connection) -> None:
    quest_id, (_, bob), (first, second) = crew(migrated, EARLY, LATE)
    update_many(migrated, QUESTS, [quest_id], {"status": "completed"})

    delete_many(migrated, PARTICIPANTS, [first])
    assert (state(migrated, quest_id).status, assignee(migrated, quest_id)) == ("completed", bob)
    assert_sound(migrated)

    delete_many(migrated, PARTICIPANTS, [second])
    assert (state(migrated, quest_id).status, assignee(migrated, quest_id)) == ("completed", None)
    assert_sound(migrated)


def test_joining_a_completed_quest_assigns_it(migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated, status="completed"), factory.user(migrated)

    insert_many(migrated, PARTICIPANTS, [row(quest_id, user_id)])

    assert state(migrated, quest_id) == State("completed", user_id, {}, {user_id: "joined"})
    assert_sound(migrated)


def test_who_comes_back_does_not_unseat_who_followed(migrated: _Connection) -> None:
    quest_id, (_, bob), (first, _) = crew(migrated, EARLY, LATE)
    update_many(migrated, PARTICIPANTS, [first], {"status": "dropped"})
    update_many(migrated, PARTICIPANTS, [first], {"status": "joined"})

    assert assignee(migrated, quest_id) == bob
    assert participant(migrated, quest_id, bob)["status"] == "joined"
    assert_sound(migrated)


# What the log says of joins: each once, by the approval if one brought it about.


def joins(connection: _Connection, quest_id: int) -> list[tuple[UUID, str | None, str]]:
    return connection.execute(
        "select user_id, before ->> 'participant_status', after ->> 'participant_status'"
        " from integrity.event where kind = 'participant_joined' and quest_id = %s order by at",
        [quest_id],
    ).fetchall()


def test_direct_join_is_logged(migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    factory.participant(migrated, quest_id, user_id, status="in_progress")
    factory.participant(migrated, quest_id, factory.user(migrated), status="dropped")

    assert joins(migrated, quest_id) == [(user_id, None, "in_progress")]


def test_return_without_an_approval_is_logged(migrated: _Connection) -> None:
    """The row still says which application had once let its user in."""
    quest_id = factory.quest(migrated)
    user_id, application_id, participant_id = admit(migrated, quest_id)
    update_many(migrated, APPLICATIONS, [application_id], {"status": "kicked"})

    update_many(migrated, PARTICIPANTS, [participant_id], {"status": "joined"})

    assert joins(migrated, quest_id) == [(user_id, "dropped", "joined")]


def test_move_to_another_quest_is_logged(migrated: _Connection) -> None:
    old, new = factory.quest(migrated), factory.quest(migrated)
    user_id, _, participant_id = admit(migrated, old)

    update_many(migrated, PARTICIPANTS, [participant_id], {"quest_id": new})

    assert joins(migrated, old) == []
    assert joins(migrated, new) == [(user_id, "joined", "joined")]
    left = one(
        migrated,
        "select after ->> 'quest_id' as quest_id, after ->> 'user_id' as user_id"
        " from integrity.event where kind = 'participant_dropped' and quest_id = %s",
        old,
    )
    assert left == {"quest_id": str(new), "user_id": str(user_id)}


def test_a_dropped_participant_saved_again_is_no_event(migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    participant_id = factory.participant(migrated, quest_id, user_id, status="dropped")

    update_many(migrated, PARTICIPANTS, [participant_id], {"status": "dropped", "quest_id": quest_id})

    assert events(migrated, quest_id) == []


@pytest.mark.parametrize("before", [None, "dropped", "joined"])
def test_join_by_approval_is_in_its_event(before: str | None, migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    if before:
        factory.participant(migrated, quest_id, user_id, status=before)
    direct = len(joins(migrated, quest_id))

    factory.application(migrated, quest_id, user_id, status="approved")

    assert len(joins(migrated, quest_id)) == direct == (before == "joined")
    logged = one(
        migrated,
        "select before ->> 'participant_status' as before, after ->> 'participant_status' as after"
        " from integrity.event where kind = 'application_approved' and quest_id = %s",
        quest_id,
    )
    assert logged == {"before": before, "after": "joined"}
