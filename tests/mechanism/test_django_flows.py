"""The application's own way of writing: with the layer every flow ends in the right state, without few do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import IntegrityError
from django.db.models import Model
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import migrate
from checks.target import Target
from tests.django_app import database
from tests.django_app.flows import (
    FLOWS,
    Application,
    Flow,
    Quest,
    QuestCompletionLog,
    QuestParticipant,
    User,
    World,
)
from tests.support.database import copied, copy_of, target_of, url_of
from tests.support.waiting import wait_until_alone

# Written anew rather than taken from the layer's views: it judges databases that have none.
INCONSISTENCIES = """
    WITH active AS (
        SELECT quest_id, user_id FROM quests_questparticipant WHERE status <> 'dropped'
    ),
    approved AS (
        SELECT quest_id, applicant_id AS user_id FROM applications_application WHERE status = 'approved'
    )
    SELECT quest_id, 'approved without participant' FROM (TABLE approved EXCEPT TABLE active) AS lost
    UNION
    SELECT quest_id, 'approved twice' FROM approved GROUP BY quest_id, user_id HAVING count(*) > 1
    UNION
    SELECT id, 'open with a participant' FROM quests_quest
    WHERE status = 'open' AND id IN (SELECT quest_id FROM active)
    UNION
    SELECT id, 'open with an approval' FROM quests_quest
    WHERE status = 'open' AND id IN (SELECT quest_id FROM approved)
    UNION
    SELECT id, 'in progress without a participant' FROM quests_quest
    WHERE status = 'in-progress' AND id NOT IN (SELECT quest_id FROM active)
    UNION
    SELECT id, 'unassigned with a participant' FROM quests_quest
    WHERE assigned_to_id IS NULL AND id IN (SELECT quest_id FROM active)
    UNION
    SELECT id, 'assigned to nobody who takes part' FROM quests_quest
    WHERE assigned_to_id IS NOT NULL AND (id, assigned_to_id) NOT IN (TABLE active)
"""


def _load_created(*, autocommit: bool, **where: Any) -> None:
    migrate.upgrade(Target(make_conninfo(**where), "test template"))
    database.create_missing_tables(make_conninfo(**where))


def _load_adopted(*, autocommit: bool, **where: Any) -> None:
    database.create_app_tables(make_conninfo(**where))
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


def _load_without_layer(*, autocommit: bool, **where: Any) -> None:
    database.create_app_tables(make_conninfo(**where))


def _load_dirty(*, autocommit: bool, **where: Any) -> None:
    """Adopt a database on which the application has left everything it can leave broken."""
    database.create_app_tables(make_conninfo(**where))
    with database.use(make_conninfo(**where)):
        for flow in FLOWS:
            flow.run(World())
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


created_server = factories.postgresql_noproc(dbname="django_created", load=[_load_created])
adopted_server = factories.postgresql_noproc(dbname="django_adopted", load=[_load_adopted])
without_layer_server = factories.postgresql_noproc(dbname="django_alone", load=[_load_without_layer])
dirty_server = factories.postgresql_noproc(dbname="django_dirty", load=[_load_dirty])

adopted = copy_of("adopted_server")
without_layer = copy_of("without_layer_server")
dirty = copy_of("dirty_server")


@pytest.fixture(scope="module", params=["created", "adopted"])
def app(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """Django on a database with the layer, one for all flows; yields another session's view of it.

    The layer is around tables of our own migrations, or attached to Django's.
    """
    with copied(request.getfixturevalue(f"{request.param}_server"), "shared") as connection:
        connection.autocommit = True
        with database.use(url_of(connection)):
            yield connection


def _run(flow: Flow, world: World) -> None:
    if flow.refused_by is None:
        flow.run(world)
        return
    with pytest.raises(IntegrityError) as refusal:
        flow.run(world)
    diagnostics = refusal.value.__cause__.diag
    assert (diagnostics.sqlstate, diagnostics.constraint_name) == ("23505", flow.refused_by)


# What each flow writes over somebody else's work, or against what is there; of the others nothing is logged.
CORRECTIONS = {
    # Saved from a page that another approval or kick had overtaken.
    "approve_two_from_stale_pages": 1,
    "complete_from_a_stale_page": 1,
    "stale_quest_saved_after_approval": 1,
    "stale_quest_saved_after_deletion": 1,
    "stale_quest_saved_after_kick": 1,
    # The app opens a quest that somebody else is still on.
    "complete_after_a_kick": 1,
    "complete_then_one_of_two_leaves": 1,
    "kick_the_assignee_of_two": 1,
    "kick_the_other_of_two": 1,
    "quest_deleted": 1,
    # Meant, but not so.
    "open_quest_assigned_to_a_stranger": 1,
    "quest_assigned_to_a_stranger": 1,
    "quest_created_as_assigned": 1,
    "quest_opened_in_the_admin": 1,
    "quest_started_in_the_admin": 1,
    "quest_unassigned_with_queryset_update": 1,
    "reopen_a_completed_quest_in_the_admin": 1,
    "unassign": 1,
    # Django clears the assignee before it deletes the participant.
    "assigned_user_of_two_deleted": 1,
    "participating_user_deleted": 1,
    "participating_users_deleted_in_bulk": 2,
    "user_who_completed_deleted": 1,
}


def _corrections(connection: psycopg.Connection[Any], quest_ids: list[int]) -> int:
    found = connection.execute(
        "SELECT count(*) FROM integrity.event WHERE kind = 'quest_write_corrected' AND quest_id = ANY(%s)", [quest_ids]
    ).fetchone()
    assert found is not None
    return int(found[0])


def _violations(connection: psycopg.Connection[Any], severity: str, quest_ids: list[int]) -> list[Any]:
    return connection.execute(
        "SELECT rule, message FROM integrity.violations WHERE severity = %s AND quest_id = ANY(%s)",
        [severity, quest_ids],
    ).fetchall()


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_flow_ends_right_with_the_layer(flow: Flow, app: psycopg.Connection[Any]) -> None:
    world = World()

    _run(flow, world)

    assert world.state() == flow.expected
    errors = app.execute("SELECT rule, message FROM integrity.violations WHERE severity = 'error'").fetchall()
    assert errors == []
    assert {rule for rule, _ in _violations(app, "warning", world.quest_ids)} == flow.warnings
    assert _corrections(app, world.quest_ids) == CORRECTIONS.get(flow.name, 0)


def test_the_app_answers_with_the_status_that_it_had_loaded(app: psycopg.Connection[Any]) -> None:
    """What docs/adopting.md says the app notices: no instance is read again after its write."""
    world = World()
    world.apply("ann")
    application = world.application("ann")
    application.approve(world.user("owner"))
    assert (application.quest.status, world.quest().status) == ("open", "in-progress")

    patched = world.quest()
    patched.status = "open"
    patched.save()
    assert (patched.status, world.quest().status) == ("open", "in-progress")
    patched.refresh_from_db()
    assert patched.status == "in-progress"


def test_flows_share_one_database(app: psycopg.Connection[Any]) -> None:
    """One flow's quests do not leak into another's, whatever ran before."""
    for flow in FLOWS:
        world = World()
        _run(flow, world)
        assert world.state() == flow.expected, flow.name

    assert app.execute("SELECT rule FROM integrity.violations WHERE severity = 'error'").fetchall() == []
    assert app.execute(INCONSISTENCIES).fetchall() == []


def test_without_the_layer_flows_leave_the_incident_behind(
    without_layer: psycopg.Connection[Any],
) -> None:
    """The flows bite: nothing is raised, and most of them end in a state the incident log complains of."""
    without_layer.autocommit = True
    found: dict[str, set[str]] = {}
    with database.use(url_of(without_layer)):
        for flow in FLOWS:
            world = World()
            flow.run(world)
            found[flow.name] = {
                what for quest_id, what in without_layer.execute(INCONSISTENCIES) if quest_id in world.quest_ids
            }

    broken = {name for name, what in found.items() if what}
    assert len(broken) >= 60
    assert {name for name, what in found.items() if "approved without participant" in what} >= {
        "leave",
        "participants_deleted_in_bulk",
        "participant_patched_to_dropped",
        "approve_in_the_admin",
        "approve_many_with_queryset_update",
        "import_approved_with_bulk_create",
        "approve_with_raw_sql",
    }
    assert found["kick"] == {"assigned to nobody who takes part"}
    assert found["stale_quest_saved_after_approval"] >= {"open with a participant", "open with an approval"}
    assert found["quest_unassigned_with_queryset_update"] == {"unassigned with a participant"}
    assert found["leave_then_reapply_then_approve"] == {"approved twice"}
    assert found["quest_started_in_the_admin"] == {"in progress without a participant"}


def _admit_newcomer(quest: Quest) -> None:
    newcomer = User.objects.create_user(f"newcomer-{quest.pk}", email=f"newcomer-{quest.pk}@example.test")
    Application.apply(quest, newcomer).approve(quest.creator)


def _approve(application: Application) -> None:
    """Approve; a second approval of a pair whose first one stands is refused also while its key cannot be built."""
    same = {"quest": application.quest}
    first_stands = (
        application.status != "approved"
        and Application.objects.filter(applicant=application.applicant, status="approved", **same).exists()
        and QuestParticipant.objects.filter(user=application.applicant, **same).exclude(status="dropped").exists()
    )
    if not first_stands:
        application.approve(application.quest.creator)
        return
    with pytest.raises(IntegrityError) as refused:
        application.approve(application.quest.creator)
    diagnostics = refused.value.__cause__.diag
    assert (diagnostics.sqlstate, diagnostics.constraint_name) == ("23505", "integrity_approved_application_key")


def _kick_if_present(application: Application) -> None:
    if QuestParticipant.objects.filter(quest=application.quest, user=application.applicant).exists():
        application.kick(application.quest.creator)


@pytest.mark.parametrize(
    ("model", "act"),
    [
        pytest.param(Quest, Quest.save, id="quests_saved"),
        pytest.param(Quest, Quest.complete, id="quests_completed"),
        pytest.param(Quest, Quest.unassign, id="quests_unassigned"),
        pytest.param(Quest, Quest.soft_delete, id="quests_soft_deleted"),
        pytest.param(Quest, Quest.delete, id="quests_deleted"),
        pytest.param(Quest, _admit_newcomer, id="newcomers_admitted"),
        pytest.param(Application, Application.save, id="applications_saved"),
        pytest.param(Application, _approve, id="applications_approved"),
        pytest.param(Application, lambda each: each.reject(each.quest.creator), id="applications_rejected"),
        pytest.param(Application, _kick_if_present, id="applications_kicked"),
        pytest.param(Application, Application.delete, id="applications_deleted"),
        pytest.param(QuestParticipant, QuestParticipant.save, id="participants_saved"),
        pytest.param(QuestParticipant, QuestCompletionLog.pay, id="participants_completed"),
        pytest.param(QuestParticipant, QuestParticipant.delete, id="participants_deleted"),
        pytest.param(User, User.delete, id="users_deleted"),
    ],
)
def test_rows_broken_before_the_layer_stay_usable(
    model: type[Model], act: Callable[[Any], object], dirty: psycopg.Connection[Any]
) -> None:
    """Whatever the application does to an old broken row, and nobody has repaired it, nothing is refused."""
    dirty.autocommit = True
    errors = "SELECT count(*) FROM integrity.violations WHERE severity = 'error'"
    before = dirty.execute(errors).fetchone()
    assert before is not None
    assert before[0] >= 60
    with database.use(url_of(dirty)):
        for pk in model._default_manager.order_by("pk").values_list("pk", flat=True):
            # One of the earlier ones may have taken it along.
            if (instance := model._default_manager.filter(pk=pk).first()) is not None:
                act(instance)


def test_the_catalogue_can_be_read_from_a_report() -> None:
    assert len({flow.name for flow in FLOWS}) == len(FLOWS)
    assert all(flow.about for flow in FLOWS)


def test_models_need_no_migration(app: psycopg.Connection[Any]) -> None:
    """Nothing that the layer adds makes Django want to change a model's table."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_migrate_has_nothing_to_do(app: psycopg.Connection[Any]) -> None:
    columns = """
        SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
        WHERE table_schema = 'public' ORDER BY table_name, ordinal_position
    """
    before = app.execute(columns).fetchall()
    call_command("migrate", check_unapplied=True, verbosity=0)
    call_command("migrate", interactive=False, verbosity=0)
    call_command("migrate", fake_initial=True, interactive=False, verbosity=0)
    assert app.execute(columns).fetchall() == before


def test_migrate_runs_again_after_the_layer_is_gone(adopted: psycopg.Connection[Any]) -> None:
    migrate.downgrade(target_of(adopted), "base", ["drop-records=true"])
    with database.use(url_of(adopted)):
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
        call_command("migrate", check_unapplied=True, verbosity=0)
        call_command("migrate", interactive=False, verbosity=0)
        World().admit("ann")


def test_a_database_is_left_without_a_session_of_django(without_layer: psycopg.Connection[Any]) -> None:
    """Else no clone could be dropped."""
    with database.use(url_of(without_layer)):
        World().quest()
    without_layer.autocommit = True
    wait_until_alone(without_layer)
