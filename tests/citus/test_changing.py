"""Detach and attach, statuses and rules on request: the layer changes on every node, and is whole each time."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from checks import guards
from tests.citus.cluster import Cluster
from tests.mechanism.state import State, state
from tests.support import cli, factory

ALTERED = "alter table applications_application alter column status type varchar(40)"
TRIGGERS = """
select count(*)
from pg_trigger
where tgname like 'integrity\\_%' and tgrelid::regclass::text like 'applications\\_application\\_%'
"""


@pytest.fixture(scope="module")
def changing(cluster: Cluster) -> Iterator[str]:
    with cluster.attached("integrity_changing") as name:
        yield name


@pytest.fixture
def session(cluster: Cluster, changing: str) -> Iterator[psycopg.Connection[Any]]:
    with cluster.connect(changing) as connection:
        yield connection
        assert guards.damaged(connection) == []


def _run(connection: psycopg.Connection[Any], *arguments: object, code: int = 0) -> str:
    ran = cli.run(connection, *arguments)
    assert ran.code == code, ran.err
    return ran.out + ran.err


def _triggers(cluster: Cluster, database: str) -> int:
    """Return how many triggers of the layer the shards of applications have on one worker."""
    with cluster.on(cluster.workers[0], database) as worker:
        (found,) = worker.execute(TRIGGERS).fetchone() or (0,)
    return int(found)


def _applied(session: psycopg.Connection[Any]) -> tuple[int, Any, int]:
    quest_id, user_id = factory.quest(session), factory.user(session)
    return quest_id, user_id, factory.application(session, quest_id, user_id)


def _write(session: psycopg.Connection[Any], quest_id: int, status: str) -> None:
    session.execute("update applications_application set status = %s where quest_id = %s", [status, quest_id])


def test_detached_migrated_and_attached(cluster: Cluster, changing: str, session: psycopg.Connection[Any]) -> None:
    before = _triggers(cluster, changing)

    assert "views and triggers are gone" in _run(session, "detach")
    assert _triggers(cluster, changing) == 0 < before
    assert "the layer is detached" in _run(session, "guards", code=3)
    quest_id, user_id, application_id = _applied(session)
    session.execute(ALTERED.encode())
    _run(session, "attach")

    assert _triggers(cluster, changing) == before
    _write(session, quest_id, "approved")
    assert state(session, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})


def test_around_a_command(cluster: Cluster, changing: str, session: psycopg.Connection[Any]) -> None:
    before = _triggers(cluster, changing)

    assert "they are back" in _run(session, "around", "--", "true")

    assert _triggers(cluster, changing) == before


def test_a_status_is_added_and_removed(session: psycopg.Connection[Any]) -> None:
    quest_id, user_id, application_id = _applied(session)
    with pytest.raises(psycopg.errors.CheckViolation):
        _write(session, quest_id, "withdrawn")

    _run(session, "statuses", "--add", "applications_application:withdrawn")
    _write(session, quest_id, "approved")
    _write(session, quest_id, "withdrawn")

    assert state(session, quest_id) == State("open", None, {application_id: "withdrawn"}, {user_id: "dropped"})
    assert "1 rows" in _run(session, "statuses", "--remove", "applications_application:withdrawn", code=2)
    _write(session, quest_id, "rejected")
    _run(session, "statuses", "--remove", "applications_application:withdrawn")
    with pytest.raises(psycopg.errors.CheckViolation):
        _write(session, quest_id, "withdrawn")


@pytest.mark.parametrize(
    "rule", ["duplicate_pending", "quest_with_several_participants", "participant_without_approval"]
)
def test_a_rule_is_enforced_and_relaxed(session: psycopg.Connection[Any], rule: str) -> None:
    assert "enforced" in _run(session, "enforce", rule)
    assert guards.damaged(session) == []
    assert "relaxed" in _run(session, "relax", rule)


def test_what_is_enforced_refuses(session: psycopg.Connection[Any]) -> None:
    quest_id, user_id, _ = _applied(session)
    _run(session, "enforce", "duplicate_pending")

    with pytest.raises(psycopg.errors.UniqueViolation, match="integrity_pending_application_key"):
        factory.application(session, quest_id, user_id)

    _run(session, "relax", "duplicate_pending")
    factory.application(session, quest_id, user_id)
