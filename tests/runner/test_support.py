"""The tests' own helpers, where a mistake would make other tests pass for nothing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.support import factory
from tests.support.database import another
from tests.support.waiting import wait_until_blocked


def test_sees_who_is_blocked_by_whom(empty: psycopg.Connection[Any]) -> None:
    empty.execute("CREATE TABLE t ()")
    empty.commit()
    empty.execute("LOCK TABLE t")
    with another(empty) as second, another(empty) as observer, ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.execute, "LOCK TABLE t")
        assert wait_until_blocked(observer, second.info.backend_pid) == [empty.info.backend_pid]
        empty.rollback()
        waiting.result(timeout=30)


def test_says_what_a_session_does_instead(empty: psycopg.Connection[Any]) -> None:
    with another(empty) as second, pytest.raises(AssertionError, match=r"is not blocked after .*idle"):
        wait_until_blocked(empty, second.info.backend_pid, seconds=0.05)


@pytest.mark.parametrize("database", ["app_only", "migrated"])
def test_the_factory_fills_what_the_tables_need(database: str, request: pytest.FixtureRequest) -> None:
    connection: psycopg.Connection[Any] = request.getfixturevalue(database)
    user = factory.user(connection, username="student1")
    quest = factory.quest(connection, title="Dummy 1", creator_id=user)
    first = factory.application(connection, quest, user)
    second = factory.application(connection, quest, user, status="kicked")
    row = connection.execute(
        "SELECT u.username, q.title, a.status, b.status, a.applied_at < b.applied_at FROM users_user u, "
        "quests_quest q, applications_application a, applications_application b "
        "WHERE u.id = %s AND q.id = %s AND a.id = %s AND b.id = %s",
        [user, quest, first, second],
    ).fetchone()
    assert row == ("student1", "Dummy 1", "pending", "kicked", True)
    connection.commit()


def test_the_factory_makes_participants(app_only: psycopg.Connection[Any]) -> None:
    quest = factory.quest(app_only)
    assert factory.participant(app_only, quest, factory.user(app_only)) != factory.participant(
        app_only, quest, factory.user(app_only)
    )
    app_only.commit()
