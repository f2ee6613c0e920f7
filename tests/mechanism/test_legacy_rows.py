"""Rows that broke the law before there was one, when the mechanism meets them."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from pytest_postgresql.executors import NoopExecutor

from tests.law.refusal import rules_broken
from tests.mechanism.roles import app_role, login
from tests.mechanism.state import State, assert_sound, events, state, version
from tests.mechanism.statements import Update, by_every_update, delete_many, update_many
from tests.support import factory, plant
from tests.support.database import prepared
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"


# An approval that outlived its participant: the incident's state.


def _alone(connection: _Connection) -> None:
    """An old approval without a participant, and a new application of the same user."""
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    factory.application(connection, quest_id, user_id, status="approved")
    factory.application(connection, quest_id, user_id)


def _beside_a_dropped_participant(connection: _Connection) -> None:
    _alone(connection)
    ((quest_id, user_id),) = connection.execute(f"select distinct quest_id, applicant_id from {APPLICATIONS}")
    factory.participant(connection, quest_id, user_id, status="dropped")


def _two_to_come(connection: _Connection) -> None:
    """Two applications of one user, beside an old approval of another."""
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    for _ in range(2):
        factory.application(connection, quest_id, user_id)
    factory.application(connection, factory.quest(connection), factory.user(connection), status="approved")


def _two_to_come_beside_duplicates(connection: _Connection) -> None:
    """The same, where the key has to wait until somebody has repaired what would violate it."""
    _two_to_come(connection)
    ((quest_id, user_id),) = connection.execute(
        f"select quest_id, applicant_id from {APPLICATIONS} where status = 'approved'"
    )
    factory.application(connection, quest_id, user_id, status="approved")


def _one(connection: _Connection) -> None:
    """An old approval without a participant, and nothing else."""
    factory.application(connection, factory.quest(connection), factory.user(connection), status="approved")


def _two_of_a_participant(connection: _Connection) -> None:
    """Two old approvals of one participant, where everything else is right."""
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    for _ in range(2):
        factory.application(connection, quest_id, user_id, status="approved")
    factory.participant(connection, quest_id, user_id)
    update_many(connection, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": user_id})


def _adopted(rows: Callable[[_Connection], None]) -> Any:
    """Return a fixture: a database that had these rows before the law came. It came once: each test has a copy."""

    def adopt(connection: _Connection) -> None:
        rows(connection)
        attach(connection)

    @pytest.fixture
    def adopted(unattached_server: NoopExecutor) -> Iterator[_Connection]:
        with prepared(unattached_server, f"legacy{rows.__name__}", adopt) as (connection, _):
            yield connection

    return adopted


alone = _adopted(_alone)
beside_a_dropped_participant = _adopted(_beside_a_dropped_participant)
two_to_come = _adopted(_two_to_come)
two_to_come_beside_duplicates = _adopted(_two_to_come_beside_duplicates)
one = _adopted(_one)
two_of_a_participant = _adopted(_two_of_a_participant)


def _read(connection: _Connection, status: str) -> tuple[int, UUID, list[int]]:
    """Return the quest, the applicant and the ids of the applications of a status."""
    ((quest_id, user_id, ids),) = connection.execute(
        f"select quest_id, applicant_id, array_agg(id order by id) from {APPLICATIONS} where status = %s"
        " group by quest_id, applicant_id",
        [status],
    )
    return quest_id, user_id, ids


@pytest.mark.parametrize("before", ["alone", "beside_a_dropped_participant"])
@by_every_update
def test_old_approval_is_kicked_when_the_pair_is_approved_again(
    update: Update, before: str, request: pytest.FixtureRequest
) -> None:
    """It ended when its participant did. Without that the applicant could never be let in again."""
    connection: _Connection = request.getfixturevalue(before)
    assert "approved_without_participant" in rules_broken(connection)
    quest_id, user_id, (old,) = _read(connection, "approved")
    _, _, (new,) = _read(connection, "pending")

    update(connection, APPLICATIONS, [new], {"status": "approved"})

    assert state(connection, quest_id) == State(
        "in-progress", user_id, {old: "kicked", new: "approved"}, {user_id: "joined"}
    )
    assert events(connection, quest_id) == ["application_approved", "application_ended"]
    assert_sound(connection)


@pytest.mark.parametrize("savepoint", [False, True])
@pytest.mark.parametrize("before", ["two_to_come", "two_to_come_beside_duplicates"])
@by_every_update
def test_two_new_approvals_beside_old_ones_are_refused(
    update: Update, before: str, savepoint: bool, request: pytest.FixtureRequest
) -> None:
    """Neither of two that one transaction approves has outlived anything."""
    connection: _Connection = request.getfixturevalue(before)
    quest_id, _, both = _read(connection, "pending")
    connection.commit()

    inner = connection.transaction() if savepoint else nullcontext()
    with pytest.raises(psycopg.errors.UniqueViolation) as refusal, connection.transaction(), inner:
        update(connection, APPLICATIONS, both, {"status": "approved"})

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"
    assert state(connection, quest_id) == State("open", None, dict.fromkeys(both, "pending"))


def test_old_approval_of_somebody_else_or_elsewhere_stays(unattached: _Connection) -> None:
    """Only what the same applicant was approved for on the same quest ends."""
    quest_id, ann, ben = factory.quest(unattached), factory.user(unattached), factory.user(unattached)
    of_ben = factory.application(unattached, quest_id, ben, status="approved")
    elsewhere = factory.application(unattached, factory.quest(unattached), ann, status="approved")
    new = factory.application(unattached, quest_id, ann)
    attach(unattached)

    update_many(unattached, APPLICATIONS, [new], {"status": "approved"})
    unattached.commit()

    assert state(unattached, quest_id) == State(
        "in-progress", ann, {of_ben: "approved", new: "approved"}, {ann: "joined"}
    )
    assert unattached.execute(f"select status from {APPLICATIONS} where id = %s", [elsewhere]).fetchall() == [
        ("approved",)
    ]


def test_old_approval_itself_saved_as_approved_stays_as_it_is(one: _Connection) -> None:
    """A save that changes nothing is no approval: whether to let the applicant back in is for a repair to say."""
    quest_id, _, (old,) = _read(one, "approved")

    update_many(one, APPLICATIONS, [old], {"status": "approved"})
    one.commit()

    assert state(one, quest_id) == State("open", None, {old: "approved"})
    assert events(one, quest_id) == []


def test_old_approval_saved_by_an_upsert_stays_as_it_is(alone: _Connection) -> None:
    """The row to insert has the id of the one that is there: neither has outlived the other."""
    quest_id, user_id, (old,) = _read(alone, "approved")
    _, _, (new,) = _read(alone, "pending")

    alone.execute(
        f"insert into {APPLICATIONS} (id, status, applied_at, quest_id, applicant_id) overriding system value"
        " values (%s, 'approved', now(), %s, %s) on conflict (id) do update set status = excluded.status",
        [old, quest_id, user_id],
    )
    alone.commit()

    assert state(alone, quest_id) == State("open", None, {old: "approved", new: "pending"})
    assert events(alone, quest_id) == []


def test_old_approval_saved_as_it_is_ends_no_other(unattached: _Connection) -> None:
    quest_id, user_id = factory.quest(unattached), factory.user(unattached)
    both = [factory.application(unattached, quest_id, user_id, status="approved") for _ in range(2)]
    attach(unattached)

    update_many(unattached, APPLICATIONS, both[:1], {"status": "approved"})
    unattached.commit()

    assert state(unattached, quest_id) == State("open", None, dict.fromkeys(both, "approved"))


def test_an_approval_whose_applicant_takes_part_has_not_outlived_anybody(alone: _Connection) -> None:
    """The old row beside it only keeps the trigger there."""
    quest_id, ben = factory.quest(alone), factory.user(alone)
    first = factory.application(alone, quest_id, ben, status="approved")
    second = factory.application(alone, quest_id, ben)
    alone.commit()

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        update_many(alone, APPLICATIONS, [second], {"status": "approved"})
    alone.rollback()

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"
    assert state(alone, quest_id).applications == {first: "approved", second: "pending"}


def test_old_approval_is_kicked_though_others_take_part_and_the_applicant_does_elsewhere(alone: _Connection) -> None:
    """Neither is the participant that it has lost."""
    quest_id, user_id, (old,) = _read(alone, "approved")
    _, _, (new,) = _read(alone, "pending")
    ben = factory.user(alone)
    factory.participant(alone, quest_id, ben)
    factory.participant(alone, factory.quest(alone), user_id)
    alone.commit()

    update_many(alone, APPLICATIONS, [new], {"status": "approved"})
    alone.commit()

    assert state(alone, quest_id) == State(
        "in-progress", ben, {old: "kicked", new: "approved"}, {ben: "joined", user_id: "joined"}
    )


@pytest.mark.parametrize("column", ["quest_id", "applicant_id"])
def test_old_approval_is_kicked_when_another_is_moved_to_its_place(column: str, alone: _Connection) -> None:
    quest_id, user_id, (old,) = _read(alone, "approved")
    _, _, (pending,) = _read(alone, "pending")
    if column == "quest_id":
        moved = factory.application(alone, factory.quest(alone), user_id, status="approved")
    else:
        moved = factory.application(alone, quest_id, factory.user(alone), status="approved")
    alone.commit()

    update_many(alone, APPLICATIONS, [moved], {column: quest_id if column == "quest_id" else user_id})
    alone.commit()

    found = state(alone, quest_id)
    assert found.applications == {old: "kicked", pending: "pending", moved: "approved"}
    assert (found.assignee, found.participants[user_id]) == (user_id, "joined")
    assert_sound(alone)


def test_an_approval_beside_old_duplicates_of_somebody_else(two_to_come_beside_duplicates: _Connection) -> None:
    """And beside approvals of the same applicant elsewhere, and of somebody else on the same quest."""
    connection = two_to_come_beside_duplicates
    quest_id, user_id, (one, other) = _read(connection, "pending")
    ben = factory.user(connection)
    of_ben = factory.application(connection, quest_id, ben, status="approved")
    factory.application(connection, factory.quest(connection), user_id, status="approved")
    connection.commit()

    update_many(connection, APPLICATIONS, [one], {"status": "approved"})
    connection.commit()

    assert state(connection, quest_id) == State(
        "in-progress",
        ben,
        {one: "approved", other: "pending", of_ben: "approved"},
        {user_id: "joined", ben: "joined"},
    )


def test_somebody_who_may_only_review_is_refused_a_second_approval(two_to_come_beside_duplicates: _Connection) -> None:
    connection = two_to_come_beside_duplicates
    _, _, both = _read(connection, "pending")
    connection.commit()
    with app_role(connection) as role:
        connection.execute(
            sql.SQL("revoke insert, update, delete on quests_questparticipant, quests_quest from {}").format(
                sql.Identifier(role)
            )
        )
        connection.commit()
        with login(connection, role) as reviewer:
            update_many(reviewer, APPLICATIONS, both[:1], {"status": "approved"})
            with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
                update_many(reviewer, APPLICATIONS, both[1:], {"status": "approved"})

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"


def test_somebody_who_may_only_review_ends_an_outlived_approval(alone: _Connection) -> None:
    """What has to be written and locked beside their own row is for the tables' owner."""
    quest_id, user_id, (old,) = _read(alone, "approved")
    _, _, (new,) = _read(alone, "pending")
    alone.commit()
    with app_role(alone) as role:
        alone.execute(
            sql.SQL("revoke insert, update, delete on quests_questparticipant, quests_quest from {}").format(
                sql.Identifier(role)
            )
        )
        alone.commit()
        with login(alone, role) as reviewer:
            update_many(reviewer, APPLICATIONS, [new], {"status": "approved"})
            reviewer.commit()
        found = state(alone, quest_id)
        alone.rollback()

    assert found == State("in-progress", user_id, {old: "kicked", new: "approved"}, {user_id: "joined"})


def test_old_approval_taken_back_and_given_again(one: _Connection) -> None:
    quest_id, user_id, (old,) = _read(one, "approved")

    update_many(one, APPLICATIONS, [old], {"status": "pending"})
    assert state(one, quest_id) == State("open", None, {old: "pending"})
    update_many(one, APPLICATIONS, [old], {"status": "approved"})

    assert state(one, quest_id) == State("in-progress", user_id, {old: "approved"}, {user_id: "joined"})
    assert_sound(one)


@pytest.mark.parametrize("how", ["update", "delete"])
def test_old_approval_that_ends_touches_nobody(how: str, one: _Connection) -> None:
    quest_id, _, (old,) = _read(one, "approved")

    if how == "update":
        update_many(one, APPLICATIONS, [old], {"status": "rejected"})
    else:
        delete_many(one, APPLICATIONS, [old])

    assert state(one, quest_id) == State("open", None, {old: "rejected"} if how == "update" else {})
    assert_sound(one)


def test_joining_directly_heals_an_old_approval(one: _Connection) -> None:
    """What was missing is there now."""
    quest_id, user_id, (old,) = _read(one, "approved")

    factory.participant(one, quest_id, user_id)

    assert state(one, quest_id) == State("in-progress", user_id, {old: "approved"}, {user_id: "joined"})
    assert_sound(one)


# Two approvals of one participant.


def test_participant_stays_while_another_old_approval_stands_for_it(two_of_a_participant: _Connection) -> None:
    connection = two_of_a_participant
    quest_id, user_id, both = _read(connection, "approved")
    assert rules_broken(connection) == {"duplicate_approval"}

    update_many(connection, APPLICATIONS, both[:1], {"status": "kicked"})
    assert state(connection, quest_id).participants == {user_id: "joined"}
    assert_sound(connection)

    update_many(connection, APPLICATIONS, both[1:], {"status": "kicked"})
    assert state(connection, quest_id) == State("open", None, dict.fromkeys(both, "kicked"), {user_id: "dropped"})
    assert_sound(connection)


def test_both_old_approvals_end_with_their_participant(two_of_a_participant: _Connection) -> None:
    connection = two_of_a_participant
    quest_id, _, both = _read(connection, "approved")

    connection.execute(f"delete from {PARTICIPANTS}")

    assert state(connection, quest_id) == State("open", None, dict.fromkeys(both, "kicked"))
    assert_sound(connection)


# Two participants of one user, where the app's own key was missing.


Duplicates = tuple[int, Any, int, list[int]]


def _duplicates(connection: _Connection, *statuses: str) -> Duplicates:
    connection.execute(
        "alter table quests_questparticipant drop constraint quests_questparticipant_quest_id_user_id_3ae0c7f5_uniq"
    )
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id, status="approved")
    ids = [factory.participant(connection, quest_id, user_id, status=status) for status in statuses]
    update_many(connection, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": user_id})
    attach(connection)
    assert "duplicate_participant" in rules_broken(connection)
    return quest_id, user_id, application_id, ids


@pytest.fixture
def two_at_work(unattached_server: NoopExecutor) -> Iterator[tuple[_Connection, Duplicates]]:
    """Yield a database where both participants of a user are active, and their quest, user, application and ids."""
    with prepared(unattached_server, "two_at_work", lambda each: _duplicates(each, "joined", "in_progress")) as found:
        yield found


@pytest.mark.parametrize("delete", [True, False])
def test_application_stays_approved_while_a_second_participant_is_active(
    delete: bool, two_at_work: tuple[_Connection, Duplicates]
) -> None:
    connection, (quest_id, user_id, application_id, ids) = two_at_work

    if delete:
        delete_many(connection, PARTICIPANTS, ids[:1])
    else:
        update_many(connection, PARTICIPANTS, ids[:1], {"status": "dropped"})
    found = state(connection, quest_id)
    assert (found.status, found.assignee, found.applications) == ("in-progress", user_id, {application_id: "approved"})

    delete_many(connection, PARTICIPANTS, ids[1:])
    found = state(connection, quest_id)
    assert (found.status, found.assignee, found.applications) == ("open", None, {application_id: "kicked"})


def test_kick_drops_every_participant_of_the_user(two_at_work: tuple[_Connection, Duplicates]) -> None:
    connection, (quest_id, user_id, application_id, _) = two_at_work

    update_many(connection, APPLICATIONS, [application_id], {"status": "kicked"})

    statuses = connection.execute("select distinct status from quests_questparticipant").fetchall()
    assert statuses == [("dropped",)]
    assert state(connection, quest_id).status == "open"
    assert user_id is not None


def test_approval_uses_the_active_one_of_two_participants(unattached: _Connection) -> None:
    quest_id, user_id, old, (dropped, active) = _duplicates(unattached, "dropped", "in_progress")
    before = version(unattached, PARTICIPANTS, dropped)
    update_many(unattached, APPLICATIONS, [old], {"status": "pending"})
    update_many(unattached, PARTICIPANTS, [active], {"status": "in_progress"})

    update_many(unattached, APPLICATIONS, [old], {"status": "approved"})
    unattached.commit()

    assert version(unattached, PARTICIPANTS, dropped) == before
    found = unattached.execute(
        "select participant_id from integrity.event where kind = 'application_approved'"
    ).fetchall()
    assert found == [(active,)]
    assert state(unattached, quest_id).assignee == user_id


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
    unattached: _Connection,
) -> None:
    """The CHECK would refuse even a change of its title."""
    user_id = factory.user(unattached)
    quest_id = factory.quest(unattached, status=status, assigned_to_id=user_id if assigned else None)
    if joined:
        factory.participant(unattached, quest_id, user_id)
    attach(unattached)
    assert rules_broken(unattached) != set()
    unattached.commit()

    update_many(unattached, QUESTS, [quest_id], {"title": "Renamed"})

    found = state(unattached, quest_id)
    assert (found.status, found.assignee) == (expected_status, user_id if expected_assigned else None)
    assert_sound(unattached)


def test_broken_quest_that_the_check_cannot_see_stays_when_saved_as_it_is(unattached: _Connection) -> None:
    """The app saves whole rows; who is assigned to it then is for a repair to say."""
    stranger = factory.user(unattached)
    quest_id = factory.quest(unattached, status="in-progress", assigned_to_id=stranger)
    attach(unattached)

    update_many(unattached, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": stranger})
    unattached.commit()

    assert state(unattached, quest_id) == State("in-progress", stranger)
    assert events(unattached, quest_id) == []


def test_quest_that_is_open_though_rightly_assigned_is_healed_when_somebody_joins(unattached: _Connection) -> None:
    """Only its status differs from what is derived."""
    ann, ben = factory.user(unattached), factory.user(unattached)
    quest_id = factory.quest(unattached, status="open", assigned_to_id=ann)
    factory.participant(unattached, quest_id, ann)
    attach(unattached)

    factory.participant(unattached, quest_id, ben)
    unattached.commit()

    assert state(unattached, quest_id) == State("in-progress", ann, {}, {ann: "joined", ben: "joined"})
    assert_sound(unattached)


@pytest.fixture
def broken_quest(
    status: str, assigned: str | None, was_there: bool, unattached_server: NoopExecutor
) -> Iterator[tuple[_Connection, tuple[int, dict[str, UUID]]]]:
    """Yield a database with such a quest, beside a sound one, and its id and those of ann and ben."""

    def adopt(connection: _Connection) -> tuple[int, dict[str, UUID]]:
        people = {"ann": factory.user(connection), "ben": factory.user(connection)}
        quest_id = factory.quest(connection, status=status, assigned_to_id=people[assigned] if assigned else None)
        factory.quest(connection, status="completed", completed_at=plant.DONE)
        if was_there:
            factory.participant(connection, quest_id, people["ann"])
        attach(connection)
        return quest_id, people

    with prepared(unattached_server, f"quest_{status}_{assigned}_{was_there}", adopt) as found:
        yield found


@pytest.mark.parametrize("how", ["approve", "join"])
@pytest.mark.parametrize(
    ("status", "assigned", "was_there", "becomes"),
    [
        # Only its status differs from what is derived, only its assignee, or both.
        ("open", "ann", True, "ann"),
        ("in-progress", None, True, "ann"),
        ("in-progress", None, False, "ben"),
        ("in-progress", "ann", False, "ben"),
        ("open", "ann", False, "ben"),
    ],
)
def test_what_becomes_of_a_broken_quest_is_part_of_the_event(
    status: str,
    assigned: str | None,
    becomes: str,
    how: str,
    broken_quest: tuple[_Connection, tuple[int, dict[str, UUID]]],
) -> None:
    connection, (quest_id, people) = broken_quest
    if how == "approve":
        factory.application(connection, quest_id, people["ben"], status="approved")
    else:
        factory.participant(connection, quest_id, people["ben"])
    connection.commit()

    found = state(connection, quest_id)
    assert (found.status, found.assignee) == ("in-progress", people[becomes])
    changes = connection.execute(
        "select before - others, after - others from integrity.event"
        " cross join (values (array['participant_status', 'application_status'])) as unasked (others)"
        " where kind in ('application_approved', 'participant_joined')"
    ).fetchall()
    assert changes == [
        (
            {"quest_status": status, "assigned_to_id": str(people[assigned]) if assigned else None},
            {"quest_status": "in-progress", "assigned_to_id": str(people[becomes])},
        )
    ]


def test_broken_quest_that_the_check_cannot_see_is_healed_when_its_participants_change(unattached: _Connection) -> None:
    """In progress and assigned, but to a stranger: a save of its title works and leaves it, a join puts it right."""
    stranger, ann = factory.user(unattached), factory.user(unattached)
    quest_id = factory.quest(unattached, status="in-progress", assigned_to_id=stranger)
    attach(unattached)

    update_many(unattached, QUESTS, [quest_id], {"title": "Renamed"})
    unattached.commit()
    assert state(unattached, quest_id) == State("in-progress", stranger)

    factory.participant(unattached, quest_id, ann)
    assert state(unattached, quest_id) == State("in-progress", ann, {}, {ann: "joined"})
    assert_sound(unattached)


def test_approval_assigns_an_open_quest_to_whoever_was_there_first(unattached: _Connection) -> None:
    """An approval takes an open quest for its applicant, then looks who is on it already."""
    quest_id, first, second = factory.quest(unattached), factory.user(unattached), factory.user(unattached)
    factory.participant(unattached, quest_id, first)
    application_id = factory.application(unattached, quest_id, second)
    attach(unattached)
    assert "open_quest_with_participant" in rules_broken(unattached)
    unattached.commit()

    update_many(unattached, APPLICATIONS, [application_id], {"status": "approved"})

    assert state(unattached, quest_id) == State(
        "in-progress", first, {application_id: "approved"}, {first: "joined", second: "joined"}
    )
    logged = unattached.execute("select before, after from integrity.event where quest_id = %s", [quest_id]).fetchall()
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
    assert_sound(unattached)


# Unknown statuses, beside known ones: the layer does not attach to tables whose statuses mean something else.


def test_participant_of_unknown_status_takes_part(unattached: _Connection) -> None:
    """It is not 'dropped'; an approval links it and leaves its status alone, and so does the end of that."""
    plant.sound_rows(unattached)
    quest_id, user_id = factory.quest(unattached), factory.user(unattached)
    factory.participant(unattached, quest_id, user_id, status="paused")
    update_many(unattached, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": user_id})
    application_id = factory.application(unattached, quest_id, user_id)
    attach(unattached)

    update_many(unattached, APPLICATIONS, [application_id], {"status": "approved"})
    unattached.commit()
    assert state(unattached, quest_id) == State(
        "in-progress", user_id, {application_id: "approved"}, {user_id: "paused"}
    )
    assert rules_broken(unattached) == {"unknown_status"}

    update_many(unattached, APPLICATIONS, [application_id], {"status": "kicked"})
    unattached.commit()
    assert state(unattached, quest_id) == State("in-progress", user_id, {application_id: "kicked"}, {user_id: "paused"})
    assert rules_broken(unattached) == {"unknown_status"}


def test_quest_of_unknown_status_keeps_it_and_is_assigned(unattached: _Connection) -> None:
    plant.sound_rows(unattached)
    quest_id, user_id = factory.quest(unattached, status="archived"), factory.user(unattached)
    attach(unattached)

    application_id = factory.application(unattached, quest_id, user_id, status="approved")
    unattached.commit()

    assert state(unattached, quest_id) == State("archived", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert rules_broken(unattached) == {"unknown_status"}


@pytest.mark.parametrize("status", ["approved", "kicked"])
def test_application_leaves_an_unknown_status(status: str, unattached: _Connection) -> None:
    plant.sound_rows(unattached)
    quest_id, user_id = factory.quest(unattached), factory.user(unattached)
    application_id = factory.application(unattached, quest_id, user_id, status="archived")
    attach(unattached)

    update_many(unattached, APPLICATIONS, [application_id], {"status": status})

    assert state(unattached, quest_id).participants == ({user_id: "joined"} if status == "approved" else {})
    assert_sound(unattached)
