"""Whoever changes the participants of a quest queues on that quest, before anything else is written, and on no other.

Two transactions on one quest so meet at one row and not at each other's rows in an order that deadlocks, and the second
reads when the first has ended. (What they come to then, in every order, is for tests/races.)
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.mechanism.state import State, admit, assert_sound, state
from tests.support import factory, plant
from tests.support.database import another
from tests.support.proof import attach, repair
from tests.support.waiting import wait_until_blocked

_Connection = psycopg.Connection[Any]
_Write = Callable[[_Connection], object]

# In the way of every lock of the quest, but not of foreign keys to it.
HOLD: LiteralString = "select from quests_quest where id = %s for no key update"
HOLD_OTHERS: LiteralString = "select from quests_quest where id <> %s for no key update"
WAITING_SECONDS = 10
# While these can be locked at once, nobody has written them.
PARTICIPANTS: LiteralString = "select from quests_questparticipant where quest_id = %s for update nowait"
APPROVALS: LiteralString = (
    "select from applications_application where quest_id = %s and status = 'approved' for update nowait"
)
APPROVE: LiteralString = "update applications_application set status = 'approved' where id = %s"


@dataclass(frozen=True)
class Case:
    """A write to a quest.

    Args:
        prepare: Makes the rows; returns the quest and the write.
        unwritten: Locks what must not have been written while it waits; without that, nothing must have been.
    """

    prepare: Callable[[_Connection], tuple[int, _Write]]
    unwritten: LiteralString | None = None

    @property
    def name(self) -> str:
        return self.prepare.__name__


def _statement(text: LiteralString, *parameters: Any) -> _Write:
    return lambda session: session.execute(text, parameters)


def join(connection: _Connection) -> tuple[int, _Write]:
    """With an id of its own: a sequence writes, too."""
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    return quest_id, lambda session: factory.participant(session, quest_id, user_id, id=1000)


def come_back_as_the_second(connection: _Connection) -> tuple[int, _Write]:
    """The quest stays as it is, so nothing but the lock can make it wait."""
    quest_id = factory.quest(connection)
    admit(connection, quest_id)
    participant_id = factory.participant(connection, quest_id, factory.user(connection), status="dropped")
    return quest_id, _statement("update quests_questparticipant set status = 'joined' where id = %s", participant_id)


def approve_as_the_second(connection: _Connection) -> tuple[int, _Write]:
    """The same."""
    quest_id = factory.quest(connection)
    admit(connection, quest_id)
    return quest_id, _statement(APPROVE, factory.application(connection, quest_id, factory.user(connection)))


def reject(connection: _Connection) -> tuple[int, _Write]:
    quest_id = factory.quest(connection)
    _, application_id, _ = admit(connection, quest_id)
    return quest_id, _statement("update applications_application set status = 'rejected' where id = %s", application_id)


def drop(connection: _Connection) -> tuple[int, _Write]:
    quest_id = factory.quest(connection)
    _, _, participant_id = admit(connection, quest_id)
    return quest_id, _statement("update quests_questparticipant set status = 'dropped' where id = %s", participant_id)


CASES = [
    Case(join),
    Case(come_back_as_the_second, APPROVALS),
    Case(approve_as_the_second, PARTICIPANTS),
    Case(reject, PARTICIPANTS),
    Case(drop, APPROVALS),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_waits_for_its_quest(case: Case, migrated: _Connection) -> None:
    quest_id, write = case.prepare(migrated)
    _assert_queues(migrated, quest_id, write, case.unwritten)
    assert_sound(migrated)


@each_case
def test_waits_for_no_other_quest(case: Case, migrated: _Connection) -> None:
    factory.quest(migrated)
    quest_id, write = case.prepare(migrated)
    _assert_passes(migrated, quest_id, write)
    assert_sound(migrated)


def test_an_approval_waits_for_the_row_it_would_reactivate(migrated: _Connection) -> None:
    """It may go to somebody else meanwhile; whoever moves a dropped participant locks no quest."""
    quest_id, ann, ben = factory.quest(migrated), factory.user(migrated), factory.user(migrated)
    participant_id = factory.participant(migrated, quest_id, ann, status="dropped")
    application_id = factory.application(migrated, quest_id, ann)
    migrated.commit()
    with another(migrated) as mover:
        mover.execute("update quests_questparticipant set user_id = %s where id = %s", [ben, participant_id])
        with _started(migrated, _statement(APPROVE, application_id)) as (session, approval):
            assert wait_until_blocked(migrated, session.info.backend_pid, WAITING_SECONDS) == [mover.info.backend_pid]
            mover.commit()
            approval.result()
            session.commit()
    migrated.rollback()
    assert state(migrated, quest_id) == State(
        "in-progress", ann, {application_id: "approved"}, {ben: "dropped", ann: "joined"}
    )
    assert_sound(migrated)


# What stands in for the law while old rows break it.


@pytest.fixture
def approved_again(app_only: _Connection) -> tuple[int, int, int]:
    """An approval that outlived its participant, from before the layer; returns quest, old and new application."""
    factory.quest(app_only)
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    old = factory.application(app_only, quest_id, user_id, status="approved")
    new = factory.application(app_only, quest_id, user_id)
    attach(app_only)
    return quest_id, old, new


def test_end_outlived_approvals_waits_for_its_quest(
    app_only: _Connection, approved_again: tuple[int, int, int]
) -> None:
    quest_id, _, new = approved_again
    _assert_queues(app_only, quest_id, _statement(APPROVE, new), APPROVALS)


def test_end_outlived_approvals_waits_for_no_other_quest(
    app_only: _Connection, approved_again: tuple[int, int, int]
) -> None:
    quest_id, _, new = approved_again
    _assert_passes(app_only, quest_id, _statement(APPROVE, new))


def test_end_outlived_approvals_ends_none_that_ended_meanwhile(
    app_only: _Connection, approved_again: tuple[int, int, int]
) -> None:
    quest_id, old, new = approved_again
    with another(app_only) as rejecting:
        rejecting.execute("update applications_application set status = 'rejected' where id = %s", [old])
        with _started(app_only, _statement(APPROVE, new)) as (session, approval):
            assert wait_until_blocked(app_only, session.info.backend_pid, WAITING_SECONDS) == [
                rejecting.info.backend_pid
            ]
            rejecting.commit()
            approval.result()
            session.commit()
    app_only.rollback()
    assert state(app_only, quest_id).applications == {old: "rejected", new: "approved"}
    assert_sound(app_only)


@pytest.fixture
def two_to_approve(app_only: _Connection) -> tuple[int, list[int]]:
    """Two applications of a participant, beside others' duplicates from before the layer, and no approving trigger.

    The stand-in is part of the law, which does not rely on the mechanism to have locked the quest.
    """
    plant.duplicate_approval(app_only)
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    factory.participant(app_only, quest_id, user_id)
    both = [factory.application(app_only, quest_id, user_id) for _ in range(2)]
    app_only.execute(
        "update quests_quest set status = 'in-progress', assigned_to_id = %s where id = %s", [user_id, quest_id]
    )
    attach(app_only)
    app_only.execute("alter table applications_application disable trigger integrity_approved_on_update")
    app_only.commit()
    return quest_id, both


def test_refuse_second_approval_waits_for_the_first(
    app_only: _Connection, two_to_approve: tuple[int, list[int]]
) -> None:
    quest_id, (first, second) = two_to_approve
    with another(app_only) as approving:
        approving.execute(APPROVE, [first])
        with _started(app_only, _statement(APPROVE, second)) as (session, approval):
            assert wait_until_blocked(app_only, session.info.backend_pid, WAITING_SECONDS) == [
                approving.info.backend_pid
            ]
            approving.commit()
            with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
                approval.result()
    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"
    app_only.rollback()
    assert state(app_only, quest_id).applications == {first: "approved", second: "pending"}


def test_refuse_second_approval_waits_for_no_other_quest(
    app_only: _Connection, two_to_approve: tuple[int, list[int]]
) -> None:
    quest_id, (first, _) = two_to_approve
    _assert_passes(app_only, quest_id, _statement(APPROVE, first))


# Repair and undo read what to do when nobody can change it any more.


@pytest.fixture
def to_repair(app_only: _Connection) -> int:
    """Return the quest whose violation is to be repaired."""
    factory.quest(app_only)
    planted = plant.open_quest_with_participant(app_only)
    attach(app_only)
    return planted.quest_id


def _planned(connection: _Connection) -> _Write:
    """Plan the repair of everything; return its first batch."""
    ((run,),) = connection.execute(
        "select integrity.start_repair('test', %s)", [Jsonb({"missing_participant": "create"})]
    )
    connection.execute("select integrity.plan_repair(%s, null, null, null, null)", [run])
    return _statement("select integrity.repair_batch(%s, 100)", run)


def _taken_back(connection: _Connection) -> _Write:
    """Repair everything; return the first batch of the undo, which is one integrity.undo_quest()."""
    repair(connection)
    ((run,),) = connection.execute("select max(id) from integrity.repair_run")
    ((undo,),) = connection.execute("select integrity.start_undo(%s, 'a mistake')", [run])
    return _statement("select integrity.undo_batch(%s, 100)", undo)


each_run = pytest.mark.parametrize("started", [_planned, _taken_back])


@each_run
def test_a_repair_waits_for_its_quest(
    started: Callable[[_Connection], _Write], app_only: _Connection, to_repair: int
) -> None:
    _assert_queues(app_only, to_repair, started(app_only))


@each_run
def test_a_repair_waits_for_no_other_quest(
    started: Callable[[_Connection], _Write], app_only: _Connection, to_repair: int
) -> None:
    _assert_passes(app_only, to_repair, started(app_only))


@contextmanager
def _started(connection: _Connection, write: _Write) -> Iterator[tuple[_Connection, Future[object]]]:
    """Let a second session write beside this one."""
    with ThreadPoolExecutor(1) as pool, another(connection) as session:
        yield session, pool.submit(write, session)


def _assert_queues(
    connection: _Connection, quest_id: int, write: _Write, unwritten: LiteralString | None = None
) -> None:
    """Make sure that a write waits for the one who holds its quest, and what it has not written; then let it go."""
    connection.commit()
    with another(connection) as holder:
        holder.execute(HOLD, [quest_id])
        with _started(connection, write) as (session, waiting):
            pid = session.info.backend_pid
            try:
                assert wait_until_blocked(connection, pid, WAITING_SECONDS) == [holder.info.backend_pid]
                if unwritten is None:
                    # Who has written has a transaction id.
                    written = "select from pg_stat_activity where pid = %s and backend_xid is not null"
                    assert connection.execute(written, [pid]).fetchall() == []
                else:
                    connection.execute(unwritten, [quest_id])
                connection.rollback()
            finally:
                holder.rollback()
            waiting.result()
            session.commit()


def _assert_passes(connection: _Connection, quest_id: int, write: _Write) -> None:
    """Make sure that a write does not wait for those who hold all other quests."""
    connection.commit()
    with another(connection) as holder, another(connection) as session:
        assert holder.execute(HOLD_OTHERS, [quest_id]).rowcount > 0
        session.execute("set lock_timeout = '1s'")
        write(session)
        session.commit()
