"""Databases that have the rules but not the law, so that violations can be planted.

``unattached`` is a test's own, to be taken further; ``rules`` is shared, for what can be rolled back.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from checks import migrate
from checks.target import Target
from tests.conftest import APP_TABLES
from tests.support.database import copied

_Connection = psycopg.Connection[Any]
RULES_ONLY = "0003_events"


def _load_unattached(*, autocommit: bool, **where: Any) -> None:
    target = Target(make_conninfo(**where), "test template")
    with target.connect() as connection:
        connection.execute(APP_TABLES.read_text())
    migrate.upgrade(target, RULES_ONLY)


unattached_server = factories.postgresql_noproc(dbname="unattached", load=[_load_unattached])

unattached = factories.postgresql("unattached_server")


@pytest.fixture(scope="session")
def shared_unattached(unattached_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield the one connection to a copy that is never written for good."""
    with copied(unattached_server, "shared") as connection:
        yield connection


@pytest.fixture
def rules(shared_unattached: _Connection) -> Iterator[_Connection]:
    """Yield a connection whose transaction is rolled back after the test: creating a database costs more."""
    yield shared_unattached
    shared_unattached.rollback()
    row = shared_unattached.execute("select exists (select from users_user)").fetchone()
    shared_unattached.rollback()
    assert row == (False,), "this test commits: it needs a database of its own, unattached"
