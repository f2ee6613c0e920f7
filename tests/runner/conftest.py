"""Databases to audit: the incident's two states, and one that breaks every rule, each with the layer attached."""

from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import migrate
from checks.target import Target
from tests.conftest import APP_TABLES
from tests.support import factory, plant

ADMIN = UUID("483ab258-e434-44f3-9da2-73409dd55f55")


def _sync_001(connection: psycopg.Connection[Any]) -> None:
    """The log's SYNC-001: two approvals of admin, one participant, quest 5 open and assigned to nobody."""
    admin = factory.user(connection, id=ADMIN, username="admin")
    dummy = factory.quest(connection, id=17, title="Dummy 1", status="in-progress", assigned_to_id=admin)
    lost = factory.quest(connection, id=5, title="Test 1.1")
    for quest_id in (dummy, lost):
        factory.application(connection, quest_id, admin, status="approved", reviewed_at=plant.DONE)
    factory.participant(connection, dummy, admin)


def _audit_001(connection: psycopg.Connection[Any]) -> None:
    """The log's AUDIT-001: 3 approvals without participants, 2 quests assigned to nobody, three students."""
    students = [factory.user(connection, username=f"student{number}") for number in (1, 2, 3)]
    for student in (students[1], students[1], students[2]):
        quest_id = plant.quest_in_progress(connection)
        factory.application(connection, quest_id, student, status="approved", reviewed_at=plant.DONE)
    for student in (students[1], students[0]):
        quest_id = factory.quest(connection, status="in-progress")
        factory.application(connection, quest_id, student, status="approved", reviewed_at=plant.DONE)
        factory.participant(connection, quest_id, student)


def _load_unattached(*, autocommit: bool, **where: Any) -> None:
    with psycopg.connect(**where) as connection:
        connection.execute(APP_TABLES.read_text())
    # The first migration wants tables that look like the app's; what a test then puts into them may not.
    migrate.upgrade(Target(make_conninfo(**where), "test template"), "0001_app_tables")


def _loader(load: Any) -> Any:
    def load_and_attach(*, autocommit: bool, **where: Any) -> None:
        with psycopg.connect(**where) as connection:
            connection.execute(APP_TABLES.read_text())
            load(connection)
        migrate.upgrade(Target(make_conninfo(**where), "test template"))

    return load_and_attach


sync_001_server = factories.postgresql_noproc(dbname="runner_sync_001", load=[_loader(_sync_001)])
audit_001_server = factories.postgresql_noproc(dbname="runner_audit_001", load=[_loader(_audit_001)])
dirty_server = factories.postgresql_noproc(dbname="runner_dirty", load=[_loader(plant.everything)])
unattached_server = factories.postgresql_noproc(dbname="runner_unattached", load=[_load_unattached])

sync_001 = factories.postgresql("sync_001_server")
audit_001 = factories.postgresql("audit_001_server")
dirty = factories.postgresql("dirty_server")
unattached = factories.postgresql("unattached_server")
