"""Two transactions that each find everything right and together would commit a broken state.

This is the hole that triggers alone have: each reads a snapshot in which the other has not happened. The triggers are
disabled here, so the foreign keys answer alone.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.law.cases import (
    APPROVED_HAS_PARTICIPANT,
    ASSIGNEE_IS_PARTICIPANT,
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    approved,
    delete_participant,
    joined,
    taken_quest,
    write_application,
    write_participant,
    write_quest,
)
from tests.law.refusal import LEVELS, disable_triggers, drop_constraint, rules_broken
from tests.support import factory
from tests.support.database import another

_Connection = psycopg.Connection[Any]
Write = Callable[[_Connection], object]


@dataclass(frozen=True)
class Race:
    """Two writes, each lawful on the state it finds.

    Args:
        constraint: What the two together break.
        rule: What the proof would call it.
        prepare: Makes the rows; returns the two writes.
    """

    constraint: str
    rule: str
    prepare: Callable[[_Connection], tuple[Write, Write]]

    @property
    def name(self) -> str:
        return self.prepare.__name__


RACES: list[Race] = []


def race(constraint: str, rule: str) -> Callable[..., Callable[[_Connection], tuple[Write, Write]]]:
    def listed(prepare: Callable[[_Connection], tuple[Write, Write]]) -> Callable[[_Connection], tuple[Write, Write]]:
        RACES.append(Race(constraint, rule, prepare))
        return prepare

    return listed


@race(APPROVED_HAS_PARTICIPANT, "approved_without_participant")
def approve_while_participant_is_deleted(connection: _Connection) -> tuple[Write, Write]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id)
    application_id = factory.application(connection, quest_id, user_id)
    return (
        lambda session: write_application(session, application_id, status="approved", integrity_approved=True),
        lambda session: delete_participant(session, participant_id),
    )


@race(APPROVED_HAS_PARTICIPANT, "approved_without_participant")
def insert_approved_while_participant_is_dropped(connection: _Connection) -> tuple[Write, Write]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id)
    return (
        lambda session: approved(session, quest_id, user_id),
        lambda session: write_participant(session, participant_id, status="dropped", integrity_active=None),
    )


@race(ASSIGNEE_IS_PARTICIPANT, "assignee_not_participant")
def assign_while_participant_is_dropped(connection: _Connection) -> tuple[Write, Write]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id)
    return (
        lambda session: write_quest(session, quest_id, "in-progress", user_id),
        lambda session: write_participant(session, participant_id, status="dropped", integrity_active=None),
    )


@race(ASSIGNEE_IS_PARTICIPANT, "assignee_not_participant")
def assign_while_participant_is_deleted(connection: _Connection) -> tuple[Write, Write]:
    quest_id, _, _ = taken_quest(connection)
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id)
    return (
        lambda session: write_quest(session, quest_id, "in-progress", user_id),
        lambda session: delete_participant(session, participant_id),
    )


@race(PARTICIPANT_HAS_ASSIGNED_QUEST, "unassigned_quest_with_participant")
def join_while_quest_is_unassigned(connection: _Connection) -> tuple[Write, Write]:
    quest_id, _, participant_id = taken_quest(connection)
    user_id = factory.user(connection)

    def leave(session: _Connection) -> None:
        delete_participant(session, participant_id)
        write_quest(session, quest_id, "open", None)

    return lambda session: joined(session, quest_id, user_id), leave


@race(PARTICIPANT_HAS_ASSIGNED_QUEST, "unassigned_quest_with_participant")
def reactivate_while_completed_quest_is_unassigned(connection: _Connection) -> tuple[Write, Write]:
    quest_id, _, participant_id = taken_quest(connection, status="completed")
    user_id = factory.user(connection)
    dropped = joined(connection, quest_id, user_id, status="dropped", integrity_active=None)

    def leave(session: _Connection) -> None:
        delete_participant(session, participant_id)
        write_quest(session, quest_id, "completed", None)

    return lambda session: write_participant(session, dropped, status="joined", integrity_active=True), leave


Outcome = tuple[str | None, str | None] | None


@pytest.fixture
def sessions(migrated: _Connection) -> Iterator[tuple[_Connection, _Connection]]:
    disable_triggers(migrated)
    with another(migrated) as first, another(migrated) as second:
        yield first, second


def commit(session: _Connection) -> Outcome:
    """Commit; returns None, or the SQLSTATE and constraint it was refused with."""
    try:
        session.commit()
    except (psycopg.errors.IntegrityError, psycopg.errors.OperationalError) as error:
        session.rollback()
        return error.sqlstate, error.diag.constraint_name
    return None


def stage(
    observer: _Connection, race: Race, sessions: tuple[_Connection, _Connection], level: IsolationLevel, order: str
) -> list[Outcome]:
    """Let both sessions write and look, then commit; returns the outcomes in the order of the writes."""
    writes = race.prepare(observer)
    observer.commit()
    for session in sessions:
        session.execute("set deadlock_timeout = '10ms'")
        session.commit()
        session.isolation_level = level
        # The snapshot of the higher levels is taken here, before either writes.
        assert rules_broken(session) == set()
    for session, write in zip(sessions, writes, strict=True):
        write(session)
        assert rules_broken(session) == set(), "each finds everything right"
    with ThreadPoolExecutor(2) as pool:
        turns = list(sessions) if order == "in order" else list(reversed(sessions))
        first = pool.submit(commit, turns[0])
        until_done_or_blocked(observer, turns[0], first)
        second = pool.submit(commit, turns[1])
        outcomes = dict(zip(turns, (first.result(timeout=60), second.result(timeout=60)), strict=True))
    return [outcomes[session] for session in sessions]


def until_done_or_blocked(observer: _Connection, session: _Connection, commit: Future[Outcome]) -> None:
    """Return once the commit has ended, or waits for the other session."""
    while not wait([commit], timeout=0.005).done:
        if observer.execute("select pg_blocking_pids(%s)", [session.info.backend_pid]).fetchone() != ([],):
            break
    observer.rollback()


@pytest.mark.parametrize("order", ["in order", "reversed"])
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name.lower())
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_one_of_the_two_is_refused(
    race: Race,
    level: IsolationLevel,
    order: str,
    migrated: _Connection,
    sessions: tuple[_Connection, _Connection],
) -> None:
    outcomes = stage(migrated, race, sessions, level, order)

    (refusal,) = [outcome for outcome in outcomes if outcome is not None]
    allowed: set[Outcome] = {("23503", race.constraint)}
    if level != IsolationLevel.READ_COMMITTED:
        allowed.add(("40001", None))
    assert refusal in allowed
    assert rules_broken(migrated) == set()


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_without_the_constraint_both_commit(
    race: Race, migrated: _Connection, sessions: tuple[_Connection, _Connection]
) -> None:
    """The races bite. (At the higher levels PostgreSQL refuses some of them for reasons of its own.)"""
    drop_constraint(migrated, race.constraint)

    assert stage(migrated, race, sessions, IsolationLevel.READ_COMMITTED, "in order") == [None, None]

    assert race.rule in rules_broken(migrated)


def test_every_deferred_constraint_is_raced(migrated: _Connection) -> None:
    """What is checked row by row, as CHECKs and keys are, has no such hole."""
    deferred = {
        name
        for (name,) in migrated.execute(
            "select conname from pg_constraint where starts_with(conname, 'integrity_') and condeferred"
        )
    }

    assert {race.constraint for race in RACES} == deferred
