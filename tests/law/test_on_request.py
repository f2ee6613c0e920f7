"""What is law on request: refused once it is enforced, alone and in a race; committed as ever when it is not."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.law.cases import (
    Case,
    Steps,
    admitted,
    approved,
    joined,
    taken_quest,
    write_application,
    write_participant,
)
from tests.law.refusal import (
    LEVELS,
    Refusal,
    at_each_level,
    disable_triggers,
    rules_broken,
    run,
    run_at_each_level,
)
from tests.law.test_concurrent import Outcome, Race, Write, until_done_or_blocked
from tests.support import factory
from tests.support.database import another

_Connection = psycopg.Connection[Any]

PARTICIPANT_HAS_APPROVED_APPLICATION = "integrity_participant_has_approved_application"
PENDING_APPLICATION_KEY = "integrity_pending_application_key"
QUEST_HAS_ONE_PARTICIPANT = "integrity_quest_has_one_participant"

# By constraint: its rule, and how it refuses.
ON_REQUEST = {
    PARTICIPANT_HAS_APPROVED_APPLICATION: ("participant_without_approval", "23503", True),
    PENDING_APPLICATION_KEY: ("duplicate_pending", "23505", False),
    QUEST_HAS_ONE_PARTICIPANT: ("quest_with_several_participants", "23505", False),
}
# Two participants of one pair, at the same moment: the app's own key.
OTHERWISE_REFUSED = {("23505", "quests_questparticipant_quest_id_user_id_3ae0c7f5_uniq")}
CASES: list[Case] = []
RACES: list[Race] = []


def breaks(constraint: str, *, healed: bool = False) -> Callable[[Steps], Steps]:
    def listed(steps: Steps) -> Steps:
        CASES.append(Case(steps, constraint, frozenset([ON_REQUEST[constraint][0]]), healed, None))
        return steps

    return listed


def race(constraint: str) -> Callable[..., Callable[[_Connection], tuple[Write, Write]]]:
    def listed(prepare: Callable[[_Connection], tuple[Write, Write]]) -> Callable[[_Connection], tuple[Write, Write]]:
        RACES.append(Race(constraint, ON_REQUEST[constraint][0], prepare))
        return prepare

    return listed


def quest_of_one(connection: _Connection, status: str = "in-progress") -> tuple[int, Any, int, int]:
    """Insert a sound quest with one approved participant: returns quest, user, participant and application."""
    quest_id, user_id, participant_id = taken_quest(connection, status)
    return quest_id, user_id, participant_id, approved(connection, quest_id, user_id)


@breaks(PARTICIPANT_HAS_APPROVED_APPLICATION)
def direct_join(connection: _Connection) -> Iterator[None]:
    yield
    taken_quest(connection)


@breaks(PARTICIPANT_HAS_APPROVED_APPLICATION)
def completed_participants_application_reset(connection: _Connection) -> Iterator[None]:
    _, _, participant_id, application_id = quest_of_one(connection, status="completed")
    write_participant(connection, participant_id, status="completed")
    yield
    write_application(connection, application_id, status="pending", integrity_approved=None)


@breaks(PARTICIPANT_HAS_APPROVED_APPLICATION)
def completed_participants_application_deleted(connection: _Connection) -> Iterator[None]:
    _, _, participant_id, application_id = quest_of_one(connection, status="completed")
    write_participant(connection, participant_id, status="completed")
    yield
    connection.execute("delete from applications_application where id = %s", [application_id])


@breaks(PARTICIPANT_HAS_APPROVED_APPLICATION, healed=True)
def participants_application_rejected(connection: _Connection) -> Iterator[None]:
    _, _, _, application_id = quest_of_one(connection)
    yield
    write_application(connection, application_id, status="rejected", integrity_approved=None)


@breaks(PARTICIPANT_HAS_APPROVED_APPLICATION)
def dropped_participant_back_without_approval(connection: _Connection) -> Iterator[None]:
    quest_id, _, _, _ = quest_of_one(connection)
    participant_id = joined(connection, quest_id, factory.user(connection), status="dropped", integrity_active=None)
    yield
    write_participant(connection, participant_id, status="joined", integrity_active=True)


@breaks(PARTICIPANT_HAS_APPROVED_APPLICATION, healed=True)
def participant_given_to_somebody_without_approval(connection: _Connection) -> Iterator[None]:
    quest_id, _, _, _ = quest_of_one(connection)
    _, participant_id, application_id = admitted(connection, quest_id)
    yield
    connection.execute("delete from applications_application where id = %s", [application_id])
    write_participant(connection, participant_id, user_id=factory.user(connection))


@breaks(PENDING_APPLICATION_KEY)
def applied_twice(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    factory.application(connection, quest_id, user_id)
    yield
    factory.application(connection, quest_id, user_id)


@breaks(PENDING_APPLICATION_KEY)
def rejected_application_pending_again(connection: _Connection) -> Iterator[None]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    rejected = factory.application(connection, quest_id, user_id, status="rejected")
    factory.application(connection, quest_id, user_id)
    yield
    write_application(connection, rejected, status="pending")


@breaks(QUEST_HAS_ONE_PARTICIPANT)
def second_participant(connection: _Connection) -> Iterator[None]:
    quest_id, _, _, _ = quest_of_one(connection)
    yield
    admitted(connection, quest_id)


@breaks(QUEST_HAS_ONE_PARTICIPANT)
def dropped_participant_back_beside_another(connection: _Connection) -> Iterator[None]:
    quest_id, _, _, _ = quest_of_one(connection)
    user_id = factory.user(connection)
    participant_id = joined(connection, quest_id, user_id, status="dropped", integrity_active=None)
    yield
    write_participant(connection, participant_id, status="joined", integrity_active=True)
    approved(connection, quest_id, user_id)


# Two transactions that would each be lawful without the other, or where only the order decides.


@race(QUEST_HAS_ONE_PARTICIPANT)
def two_approvals(connection: _Connection) -> tuple[Write, Write]:
    quest_id = factory.quest(connection)
    one, two = (factory.application(connection, quest_id, factory.user(connection)) for _ in range(2))
    return (
        lambda session: write_application(session, one, status="approved"),
        lambda session: write_application(session, two, status="approved"),
    )


@race(PENDING_APPLICATION_KEY)
def two_applications(connection: _Connection) -> tuple[Write, Write]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    return (
        lambda session: factory.application(session, quest_id, user_id),
        lambda session: factory.application(session, quest_id, user_id),
    )


@race(PARTICIPANT_HAS_APPROVED_APPLICATION)
def join_and_approval(connection: _Connection) -> tuple[Write, Write]:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    application_id = factory.application(connection, quest_id, user_id)
    return (
        lambda session: factory.participant(session, quest_id, user_id),
        lambda session: write_application(session, application_id, status="approved"),
    )


@race(PARTICIPANT_HAS_APPROVED_APPLICATION)
def completion_and_reset(connection: _Connection) -> tuple[Write, Write]:
    _, _, participant_id, application_id = quest_of_one(connection)
    return (
        lambda session: write_participant(session, participant_id, status="completed"),
        lambda session: write_application(session, application_id, status="pending"),
    )


@race(PARTICIPANT_HAS_APPROVED_APPLICATION)
def completed_back_and_application_deleted(connection: _Connection) -> tuple[Write, Write]:
    _, _, participant_id, application_id = quest_of_one(connection)
    write_participant(connection, participant_id, status="dropped")
    return (
        lambda session: write_participant(session, participant_id, status="completed"),
        lambda session: session.execute("delete from applications_application where id = %s", [application_id]),
    )


def _expected(constraint: str) -> Refusal:
    _, state, at_commit = ON_REQUEST[constraint]
    return Refusal(state, constraint, at_commit)


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_level = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name.lower())


@pytest.fixture
def several(enforced: _Connection) -> _Connection:
    """Everything enforced but the limit of one participant, which half of the cases would meet first."""
    enforced.execute("select integrity.relax('quest_with_several_participants')")
    enforced.commit()
    return enforced


def _database(case: Case, request: pytest.FixtureRequest) -> _Connection:
    name = "enforced" if case.constraint == QUEST_HAS_ONE_PARTICIPANT else "several"
    connection: _Connection = request.getfixturevalue(name)
    return connection


@every_case
def test_refused_with_triggers_disabled(case: Case, request: pytest.FixtureRequest) -> None:
    connection = _database(case, request)
    disable_triggers(connection)

    assert run_at_each_level(connection, case) == at_each_level(_expected(case.constraint))

    assert rules_broken(connection) == set()


@every_case
def test_with_triggers_enabled(case: Case, request: pytest.FixtureRequest) -> None:
    connection = _database(case, request)
    expected = None if case.healed else _expected(case.constraint)

    assert run_at_each_level(connection, case) == at_each_level(expected)

    assert rules_broken(connection) == set()


@every_case
def test_committed_when_relaxed(case: Case, request: pytest.FixtureRequest) -> None:
    """Each case bites: without the constraint the same writes commit, and the rule sees the state."""
    connection = _database(case, request)
    (rule,) = case.rules
    connection.execute("select integrity.relax(%s)", [rule])
    # Off without the constraint, so that only its own view tells.
    connection.execute("update integrity.rule set severity = 'warning' where rule = %s", [rule])
    connection.execute("select integrity.assemble_violations()")
    connection.commit()
    disable_triggers(connection)

    assert run(connection, case) is None

    assert rules_broken(connection, "warning") >= {rule}


def _attempt(session: _Connection, write: Write) -> Outcome:
    try:
        write(session)
        session.commit()
    except (psycopg.errors.IntegrityError, psycopg.errors.OperationalError) as error:
        session.rollback()
        return error.sqlstate, error.diag.constraint_name
    return None


@pytest.mark.parametrize("swapped", [False, True], ids=["in order", "reversed"])
@every_level
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_race(race: Race, level: IsolationLevel, swapped: bool, enforced: _Connection) -> None:
    """One writes, then the other starts; whoever is refused, nothing broken is committed."""
    writes = race.prepare(enforced)
    enforced.commit()
    with another(enforced) as first, another(enforced) as second, ThreadPoolExecutor(1) as pool:
        for session in (first, second):
            session.execute("set deadlock_timeout = '10ms'")
            session.commit()
            session.isolation_level = level
            # The snapshot of the higher levels is taken here, before either writes.
            assert rules_broken(session) == set()
        mine, other = reversed(writes) if swapped else writes
        mine(first)
        waiting = pool.submit(_attempt, second, other)
        until_done_or_blocked(enforced, second, waiting)
        outcomes = [_attempt(first, lambda _: None), waiting.result(timeout=60)]

    allowed: set[Outcome] = {("40001", None), ("40P01", None)}
    allowed |= {(state, name) for name, (_, state, _) in ON_REQUEST.items()}
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert [outcome for outcome in refused if outcome not in allowed | OTHERWISE_REFUSED] == []
    assert len(refused) >= (race.constraint != PARTICIPANT_HAS_APPROVED_APPLICATION)
    assert rules_broken(enforced) == set()


def test_every_constraint_on_request_has_cases_and_a_race(migrated: _Connection) -> None:
    law = {name for (name,) in migrated.execute("select name from integrity.law where chosen is not null")}
    assert {case.constraint for case in CASES} == {race.constraint for race in RACES} == ON_REQUEST.keys() == law
