"""The mechanism never reads a whole table, however small the tables were when its plans were made.

PostgreSQL keeps a function's plans for the session. One from when a table had a page reads the table by itself, and
does so for every row of a bulk approval when it has grown: 2,961 us a row where 523 are enough (measured at 10,000).
"""

from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest

from tests.mechanism.state import admit
from tests.support import factory, plant
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]

APPROVE: LiteralString = "update applications_application set status = 'approved' where id = %s"
REJECT: LiteralString = "update applications_application set status = 'rejected' where id = %s"
DROP: LiteralString = "update quests_questparticipant set status = 'dropped' where id = %s"
TABLES = ("applications_application", "quests_quest", "quests_questparticipant")


def approve_the_first(connection: _Connection) -> int:
    return factory.application(connection, factory.quest(connection), factory.user(connection))


def approve_the_second(connection: _Connection) -> int:
    quest_id = factory.quest(connection)
    admit(connection, quest_id)
    return factory.application(connection, quest_id, factory.user(connection))


def approve_a_dropped_one(connection: _Connection) -> int:
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    factory.participant(connection, quest_id, user_id, status="dropped")
    return factory.application(connection, quest_id, user_id)


def _admitted(connection: _Connection) -> tuple[int, int]:
    """Let two in, so that the quest gets another assignee; return the first one's application and participant."""
    quest_id = factory.quest(connection)
    _, application_id, participant_id = admit(connection, quest_id)
    admit(connection, quest_id)
    return application_id, participant_id


def end(connection: _Connection) -> int:
    return _admitted(connection)[0]


def leave(connection: _Connection) -> int:
    return _admitted(connection)[1]


@pytest.mark.parametrize(
    ("prepare", "statement", "table"),
    [
        (approve_the_first, APPROVE, "applications_application"),
        (approve_the_second, APPROVE, "applications_application"),
        (approve_a_dropped_one, APPROVE, "applications_application"),
        (end, REJECT, "applications_application"),
        (end, "delete from applications_application where id = %s", "applications_application"),
        (leave, DROP, "quests_questparticipant"),
        (leave, "delete from quests_questparticipant where id = %s", "quests_questparticipant"),
    ],
)
def test_is_not_read(
    prepare: Callable[[_Connection], int], statement: LiteralString, table: LiteralString, migrated: _Connection
) -> None:
    row_id = prepare(migrated)
    assert _tables_read(migrated, statement, row_id) == {table: 1}


@pytest.mark.parametrize("function", ["end_outlived_approvals", "refuse_second_approval"])
def test_is_not_read_by_what_stands_in_for_the_law(function: str, app_only: _Connection) -> None:
    plant.duplicate_approval(app_only)
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    factory.application(app_only, quest_id, user_id, status="approved")
    row_id = factory.application(app_only, quest_id, user_id)
    attach(app_only)
    triggers = "select from pg_trigger where tgfoid = %s::regproc and tgrelid = 'applications_application'::regclass"
    assert app_only.execute(triggers, [f"integrity.{function}"]).fetchall() == [()]
    assert _tables_read(app_only, APPROVE, row_id) == {"applications_application": 1}


def _tables_read(connection: _Connection, statement: LiteralString, row_id: int) -> dict[str, int]:
    """Run a statement on one row; return how often each table was read as a whole: its own once, by the statement."""
    connection.commit()
    # A page each, which is read faster than any index.
    connection.execute(f"analyze {', '.join(TABLES)}".encode())
    before = _scans(connection)
    assert connection.execute(statement, [row_id]).rowcount == 1
    after = _scans(connection)
    return {name: after[name] - before[name] for name in TABLES if after[name] != before[name]}


def _scans(connection: _Connection) -> dict[str, int]:
    """Count this session's scans of whole tables that the server's statistics have not yet."""
    return dict(
        connection.execute(
            "select relname, seq_scan from pg_stat_xact_user_tables where relname = any(%s)", [list(TABLES)]
        ).fetchall()
    )
