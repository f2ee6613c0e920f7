"""A database to damage without a trace."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pytest_postgresql.executors import NoopExecutor

from tests.support.database import copied

_Connection = psycopg.Connection[Any]

UNHINDERED = "set allow_system_table_mods = on; set client_min_messages = error"


@pytest.fixture(scope="session")
def shared_migrated(migrated_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield the one connection to a migrated database in which nothing is committed."""
    with copied(migrated_server, "guarded") as connection:
        connection.execute(UNHINDERED)
        connection.commit()
        yield connection


@pytest.fixture
def guarded(shared_migrated: _Connection) -> Iterator[_Connection]:
    """Yield a connection to a migrated database, in a transaction that cannot be committed and is rolled back."""
    with shared_migrated.transaction(force_rollback=True):
        yield shared_migrated
