"""Databases whose tables are Django's, which the layer was attached to: empty ones, ones
with broken rows, and one where everything is enforced that can be."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from tests.support import plant
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.database import copied, copy_of
from tests.support.templates import app_tables, enforce

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Untouched:
    """A migrated database that tests share which change nothing. If one does, it is the first that fails."""

    connection: _Connection
    catalog: Snapshot

    def changes(self) -> Snapshot:
        """Return what is not as it was when the migrations had run."""
        return changed(self.catalog, snapshot(self.connection))


@pytest.fixture(scope="session")
def _shared(migrated_server: NoopExecutor) -> Iterator[Untouched]:
    with copied(migrated_server, "untouched") as connection:
        yield Untouched(connection, snapshot(connection))


@pytest.fixture
def untouched(_shared: Untouched) -> Iterator[Untouched]:
    """Yield the database that all share, and roll back what a test has left open."""
    yield _shared
    _shared.connection.rollback()


def _broken(connection: _Connection) -> None:
    # Duplicate participants would keep even the keys away that the foreign keys need.
    for name, plant_one in plant.RULES.items():
        if name != "duplicate_participant":
            plant_one(connection)
    for plant_one in plant.VARIANTS:
        plant_one(connection)


adopted_server = factories.postgresql_noproc(dbname="law_adopted", load=[app_tables()])
broken_server = factories.postgresql_noproc(dbname="law_broken", load=[app_tables(_broken)])
duplicated_server = factories.postgresql_noproc(dbname="law_duplicated", load=[app_tables(plant.duplicate_participant)])
keyless_server = factories.postgresql_noproc(dbname="law_keyless", load=[app_tables(plant.drop_participant_key)])
enforced_server = factories.postgresql_noproc(dbname="law_enforced", load=[app_tables(then=enforce)])

adopted = copy_of("adopted_server")
broken = copy_of("broken_server")
duplicated = copy_of("duplicated_server")
keyless = copy_of("keyless_server")
enforced = copy_of("enforced_server")
