"""What the report page and the guide draw from: approvals per day, and the diagrams of the law and of the statuses."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"
TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture
def approved(migrated: _Connection) -> _Connection:
    """Two approvals, one of them ended."""
    for _ in range(2):
        quest_id, user_id = factory.quest(migrated), factory.user(migrated)
        application_id = factory.application(migrated, quest_id, user_id)
        migrated.execute("update applications_application set status = 'approved' where id = %s", [application_id])
    migrated.execute("update applications_application set status = 'kicked' where id = %s", [application_id])
    migrated.commit()
    return migrated


def test_daily_approval(approved: _Connection) -> None:
    days = approved.execute(
        "select (now() at time zone 'UTC')::date - day, approvals from integrity.daily_approval order by day"
    ).fetchall()
    assert days == [(ago, 0 if ago else 2) for ago in range(29, -1, -1)]


def test_daily_approval_counts_days_of_utc_and_forgets_the_month_before(approved: _Connection) -> None:
    approved.execute("set timezone = 'Pacific/Kiritimati'")
    approved.execute(
        "insert into integrity.event (kind, actor, application_name, at)"
        " select 'application_approved', 'me', '', (now() at time zone 'UTC')::date::timestamp at time zone 'UTC' - ago"
        " from unnest(array['1 second', '45 days']::interval[]) as ago"
    )
    days = approved.execute(
        "select (now() at time zone 'UTC')::date - day, approvals from integrity.daily_approval where approvals > 0"
        " order by day"
    ).fetchall()
    assert days == [(1, 1), (0, 2)]


def test_diagram_nodes(migrated: _Connection) -> None:
    """The tables with their markers, and the statuses of the CHECKs, in order."""
    found: dict[str, list[str]] = {}
    nodes = migrated.execute("select diagram, node, note from integrity.diagram_node order by diagram, position")
    for diagram, node, note in nodes:
        assert bool(note) == (diagram == "law")
        found.setdefault(diagram, []).append(node)
    assert found == {
        "law": [APPLICATIONS, PARTICIPANTS, QUESTS],
        APPLICATIONS: ["no row", "pending", "approved", "rejected", "kicked"],
        PARTICIPANTS: ["no row", "joined", "in_progress", "completed", "dropped"],
        QUESTS: ["no row", "open", "in-progress", "completed"],
    }


def test_diagram_edges(approved: _Connection) -> None:
    """Three foreign keys, and what the log has seen."""
    edges = approved.execute("select diagram, source, target, label from integrity.diagram_edge").fetchall()
    assert sorted(edge for edge in edges if edge[0] == "law") == [
        ("law", APPLICATIONS, PARTICIPANTS, "integrity_approved_application_has_participant (enforced)"),
        ("law", QUESTS, PARTICIPANTS, "integrity_assignee_is_participant (enforced)"),
        ("law", PARTICIPANTS, QUESTS, "integrity_participant_has_assigned_quest (enforced)"),
    ]
    assert sorted(edge for edge in edges if edge[0] != "law") == [
        (APPLICATIONS, "approved", "kicked", f"1{TIMES}"),
        (APPLICATIONS, "pending", "approved", f"2{TIMES}"),
        (QUESTS, "in-progress", "open", f"1{TIMES}"),
        (QUESTS, "open", "in-progress", f"2{TIMES}"),
        (PARTICIPANTS, "joined", "dropped", f"1{TIMES}"),
        (PARTICIPANTS, "no row", "joined", f"2{TIMES}"),
    ]


def test_a_status_that_stays_is_no_edge(approved: _Connection) -> None:
    """The quest's, when one of its participants hands it on to another."""
    quest_id, participant_id = approved.execute(
        "select quest_id, id from quests_questparticipant where status = 'joined'"
    ).fetchone() or (0, 0)
    factory.participant(approved, quest_id, factory.user(approved))
    approved.execute("update quests_questparticipant set status = 'dropped' where id = %s", [participant_id])
    assert approved.execute(
        "select count(*) from integrity.event where after ->> 'quest_status' = 'in-progress'"
        " and before ->> 'quest_status' = 'in-progress'"
    ).fetchone() == (1,)
    assert approved.execute("select * from integrity.diagram_edge where source = target").fetchall() == []


def test_diagram_edges_count_what_happened_and_not_what_was_put_right(approved: _Connection) -> None:
    edges = approved.execute("select * from integrity.diagram_edge order by diagram, source, target").fetchall()
    approved.execute(
        "insert into integrity.event (kind, actor, application_name, before, after)"
        " select 'repaired', 'me', '', jsonb_object(names, array['old', 'old', 'old']),"
        " jsonb_object(names, array['new', 'new', 'new'])"
        " from (values (array['application_status', 'participant_status', 'quest_status'])) as known (names)"
    )
    assert approved.execute("select * from integrity.diagram_edge order by diagram, source, target").fetchall() == edges


def test_named_violation_has_the_users_name_or_what_there_is(unattached: _Connection) -> None:
    planted = [plant.approved_without_participant(unattached) for _ in range(2)]
    quest_id = plant.in_progress_without_participant(unattached).quest_id
    unattached.execute("update users_user set username = 'ann' where id = %s", [planted[0].user_id])
    # A user who is gone, as only a superuser can have removed them.
    unattached.commit()
    unattached.execute("set local session_replication_role = replica")
    unattached.execute("delete from users_user where id = %s", [planted[1].user_id])
    attach(unattached)
    named = unattached.execute("select quest_id, person from integrity.named_violation order by quest_id").fetchall()
    assert named == [
        (planted[0].quest_id, "ann"),
        (planted[1].quest_id, str(planted[1].user_id)),
        (quest_id, None),
    ]
