"""Adoption under traffic: every client is served throughout, no write that was acknowledged is lost."""

import subprocess
import sys
from typing import Any

import psycopg
import pytest

from checks import migrate
from tests.support import factory
from tests.support.programs import ROOT, alembic, environment
from tests.support.revisions import wrong_markers
from tests.support.traffic import traffic

_Connection = psycopg.Connection[Any]

QUESTS, APPLICATIONS_EACH = 60, 20
MECHANISM = "0007_law"

BROKEN_QUESTS = "select distinct quest_id from integrity.violations where severity = 'error'"

# What the last acknowledged word about an application, or about somebody who joined without one, should have left.
LOST = """
with last as (
  select distinct on (quest_id, user_id) what, quest_id, user_id, application_id
  from traffic.acknowledged
  order by quest_id, user_id, id desc
)
select last.*, application.status, participant.status
from last
left join applications_application as application on application.id = last.application_id
left join quests_questparticipant as participant
  on participant.quest_id = last.quest_id and participant.user_id = last.user_id
where
  application.status <> last.what
  or (last.what in ('approved', 'joined')) <> coalesce(participant.status in ('joined', 'in_progress'), false)
"""


@pytest.fixture
def busy(attachable: _Connection) -> _Connection:
    """Return a database with every rule broken and enough rows for clients to get in each other's way."""
    with attachable.transaction():
        category_id, owner = factory.category(attachable), factory.user(attachable)
        people = [factory.user(attachable) for _ in range(APPLICATIONS_EACH * 3)]
        for number in range(QUESTS):
            quest_id = factory.quest(attachable, category_id=category_id, creator_id=owner)
            for user_id in people[number % 3 :: 3]:
                factory.application(attachable, quest_id, user_id)
    return attachable


def _runner(connection: _Connection, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from checks.cli import main; main()", *arguments],
        cwd=ROOT,
        env=environment(connection),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    # What nobody can repair is left.
    assert done.returncode == 1, done.stderr


def _upgrade(connection: _Connection, revision: str) -> None:
    process = alembic(connection, "-x", "backfill-batch=50", "-x", "backfill-pause=2ms", "upgrade", revision)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said


def test_adoption_under_traffic(busy: _Connection) -> None:
    with traffic(busy) as clients:
        clients.wait_for_more()
        _upgrade(busy, MECHANISM)
        clients.assert_served()
        # From here on nobody can break a quest that was whole.
        broken = set(busy.execute(BROKEN_QUESTS).fetchall())
        assert broken
        clients.wait_for_more()
        assert set(busy.execute(BROKEN_QUESTS).fetchall()) <= broken

        _upgrade(busy, "head")
        clients.wait_for_more()
        assert set(busy.execute(BROKEN_QUESTS).fetchall()) <= broken

        _runner(busy, "audit", "--fix-issues", "--yes", "--missing-participant", "create")
        assert busy.execute("select finished_at is not null from integrity.repair_run").fetchall() == [(True,)]
        clients.wait_for_more()
        _runner(busy, "validate")
        clients.assert_served()

    assert busy.execute(LOST).fetchall() == []
    assert wrong_markers(busy) == {}
    # What is left is for a person, planted, and in nobody's way.
    left = busy.execute("select distinct rule from integrity.violations where severity = 'error'").fetchall()
    assert left == [("unknown_status",)]
    waiting = busy.execute(
        "select distinct unnest(rules) from integrity.law_status where state <> 'enforced' and chosen is null"
    ).fetchall()
    assert waiting == left
    assert migrate.current_revision(busy) == migrate.head_revision()
