"""Databases whose tables are Django's, which the layer was attached to: empty ones, and ones with broken rows."""

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import migrate
from checks.target import Target
from tests.conftest import APP_TABLES
from tests.support import plant


def _load_adopted(*, autocommit: bool, **where: Any) -> None:
    with psycopg.connect(**where) as connection:
        connection.execute(APP_TABLES.read_text())
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


def _load_broken(*, autocommit: bool, **where: Any) -> None:
    with psycopg.connect(**where) as connection:
        connection.execute(APP_TABLES.read_text())
        # Duplicate participants would keep even the keys away that the foreign keys need.
        for name, plant_one in plant.RULES.items():
            if name != "duplicate_participant":
                plant_one(connection)
        for plant_one in plant.VARIANTS:
            plant_one(connection)
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


def _load_duplicated(*, autocommit: bool, **where: Any) -> None:
    with psycopg.connect(**where) as connection:
        connection.execute(APP_TABLES.read_text())
        plant.duplicate_participant(connection)
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


def _load_keyless(*, autocommit: bool, **where: Any) -> None:
    with psycopg.connect(**where) as connection:
        connection.execute(APP_TABLES.read_text())
        plant.drop_participant_key(connection)
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


adopted_server = factories.postgresql_noproc(dbname="law_adopted", load=[_load_adopted])
broken_server = factories.postgresql_noproc(dbname="law_broken", load=[_load_broken])
duplicated_server = factories.postgresql_noproc(dbname="law_duplicated", load=[_load_duplicated])
keyless_server = factories.postgresql_noproc(dbname="law_keyless", load=[_load_keyless])

adopted = factories.postgresql("adopted_server")
broken = factories.postgresql("broken_server")
duplicated = factories.postgresql("duplicated_server")
keyless = factories.postgresql("keyless_server")
