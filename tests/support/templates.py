"""What the templates of the tests' databases are loaded with: Django's tables, some rows, the layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo

from checks import guards, migrate
from checks.target import Target
from tests.support import factory, plant

_Connection = psycopg.Connection[Any]

APP_TABLES = Path(__file__).with_name("app_tables.sql")
# The rules are there and the law is not, so that violations can be planted.
RULES_ONLY = "0003_events"
ADMIN = UUID("483ab258-e434-44f3-9da2-73409dd55f55")


def target_of_template(*, autocommit: bool, **where: Any) -> Target:
    """Return the database that pytest-postgresql wants loaded, as the runner's modules want it."""
    return Target(make_conninfo(**where), "test template")


def app_tables(
    fill: Callable[[_Connection], object] | None = None,
    revision: str | None = "head",
    then: Callable[[_Connection], object] | None = None,
) -> Any:
    """Return a loader for pytest-postgresql: Django's tables, filled, taken to a revision or to none, then changed."""

    def load(**where: Any) -> None:
        target = target_of_template(**where)
        with target.connect() as connection:
            connection.execute(APP_TABLES.read_text())
            if fill is not None:
                fill(connection)
        if revision is not None:
            migrate.upgrade(target, revision)
        if then is not None:
            with target.connect(autocommit=True) as connection:
                then(connection)

    return load


def enforce(connection: _Connection) -> None:
    """Enforce everything that is law on request."""
    for (rule,) in connection.execute("select unnest(rules) from integrity.law where chosen is not null").fetchall():
        connection.execute("select integrity.enforce(%s)", [rule])
    assert guards.enforce(connection) == []


def sync_001(connection: _Connection) -> None:
    """The log's SYNC-001: two approvals of admin, one participant, quest 5 open and assigned to nobody."""
    admin = factory.user(connection, id=ADMIN, username="admin")
    dummy = factory.quest(connection, id=17, title="Dummy 1", status="in-progress", assigned_to_id=admin)
    lost = factory.quest(connection, id=5, title="Test 1.1")
    for quest_id in (dummy, lost):
        factory.application(connection, quest_id, admin, status="approved", reviewed_at=plant.DONE)
    factory.participant(connection, dummy, admin)


def audit_001(connection: _Connection) -> None:
    """The log's AUDIT-001: 3 approvals without participants, 2 quests assigned to nobody, three students."""
    students = [factory.user(connection, username=f"student{number}") for number in (1, 2, 3)]
    for student in (students[1], students[1], students[2]):
        quest_id = plant.quest_in_progress(connection)
        factory.application(connection, quest_id, student, status="approved", reviewed_at=plant.DONE)
    for student in (students[1], students[0]):
        quest_id = factory.quest(connection, status="in-progress")
        factory.application(connection, quest_id, student, status="approved", reviewed_at=plant.DONE)
        factory.participant(connection, quest_id, student)
