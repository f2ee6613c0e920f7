"""With the layer detached nothing broken can be committed: the constraints refuse it, by their names."""

import re
from typing import Any

import psycopg
import pytest
from pytest_postgresql import factories

from checks import attachment, ddl, migrate
from migrations.sql_objects import SQL_ROOT
from tests.law.cases import APPLICATION_MARKER, CASES, PARTICIPANT_MARKER, QUEST_MARKER, Case
from tests.law.refusal import Refusal, at_each_level, expected_refusal, run_at_each_level
from tests.support import factory, templates
from tests.support.database import copy_of

_Connection = psycopg.Connection[Any]

BODY = re.compile(r"create or replace view integrity\.(\w+) as\n(.+?);\n\ncomment on", re.DOTALL)


def _detached(**where: Any) -> None:
    target = templates.target_of_template(**where)
    migrate.upgrade(target)
    with target.connect(autocommit=True) as connection:
        assert attachment.detach(connection, ddl.LockPolicy()) > 20


detached_server = factories.postgresql_noproc(dbname="law_detached", load=[_detached])
detached = copy_of("detached_server")


def rules_broken(connection: _Connection) -> set[str]:
    """Read the rules from the package's files: the views are gone."""
    broken = set()
    for file in (SQL_ROOT / "rules").glob("*/view.v1.sql"):
        found = BODY.search(file.read_text())
        assert found is not None
        query = f"select exists (select from ({found[2]}) as violation where severity = 'error')"
        if connection.execute(query.encode()).fetchone() == (True,):
            broken.add(found[1])
    connection.rollback()
    return broken


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_broken_states_are_refused(case: Case, detached: _Connection) -> None:
    expected = expected_refusal(detached, case.constraint)

    assert run_at_each_level(detached, case) == at_each_level(expected)

    assert rules_broken(detached) == set()


def refused(connection: _Connection, statement: str, *values: object) -> Refusal | None:
    """Run one statement in a transaction of its own, as a client does that knows nothing of the layer."""
    try:
        connection.execute(statement.encode(), values)
        connection.commit()
    except psycopg.IntegrityError as error:
        connection.rollback()
        return Refusal(error.sqlstate, error.diag.constraint_name, at_commit=False)
    return None


def test_what_needs_the_mechanism_is_refused_whole(detached: _Connection) -> None:
    """A client that does not know the markers gets their CHECK; what concerns no rule works."""
    quest_id, user_id = factory.quest(detached), factory.user(detached)
    application_id = factory.application(detached, quest_id, user_id)
    detached.commit()

    marker = {
        name: Refusal("23514", name, at_commit=False) for name in (APPLICATION_MARKER, PARTICIPANT_MARKER, QUEST_MARKER)
    }
    approve = "update applications_application set status = 'approved' where id = %s"
    assert refused(detached, approve, application_id) == marker[APPLICATION_MARKER]
    join = (
        "insert into quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)"
        " values (%s, %s, 'joined', now(), '')"
    )
    assert refused(detached, join, quest_id, user_id) == marker[PARTICIPANT_MARKER]
    assign = "update quests_quest set assigned_to_id = %s, status = 'in-progress' where id = %s"
    assert refused(detached, assign, user_id, quest_id) == marker[QUEST_MARKER]

    assert (
        refused(detached, "update applications_application set status = 'rejected' where id = %s", application_id)
        is None
    )
    assert refused(detached, "update quests_quest set title = 'new', is_deleted = true where id = %s", quest_id) is None
    assert rules_broken(detached) == set()
