"""Databases whose tables are Django's, which the layer was attached to: empty ones, ones
with broken rows, and one where everything is enforced that can be."""

from typing import Any

import psycopg
from pytest_postgresql import factories

from tests.support import plant
from tests.support.database import copy_of
from tests.support.templates import app_tables, enforce


def _broken(connection: psycopg.Connection[Any]) -> None:
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
