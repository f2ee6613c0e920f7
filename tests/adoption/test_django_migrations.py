"""Later migrations of the app while the layer is attached: what works, what does not, and the way around it."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import IntegrityError, NotSupportedError, connections, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddConstraint, AddField, AddIndex, AlterField, RemoveField, RenameField
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from checks import migrate
from checks.errors import UserError
from tests.django_app import database
from tests.django_app.flows import FLOWS, World
from tests.support.catalog import changed, snapshot
from tests.support.database import target_of, url_of
from tests.support.proof import places
from tests.support.revisions import wrong_markers

_Connection = psycopg.Connection[Any]

# Every table that the layer is attached to.
TABLES = {"quests": ("quest", "questparticipant"), "applications": ("application",)}

# Revisions that look at the app's columns: below the first of them nothing of ours names a column.
BELOW_EVERYTHING = "0001_app_tables"


@pytest.fixture(autouse=True)
def _django_at_work(attached: _Connection) -> Iterator[None]:
    with database.use(url_of(attached)):
        yield


def _project_state() -> ProjectState:
    return MigrationLoader(connections["default"]).project_state()


def _apply(app: str, *operations: Operation) -> None:
    """Do what a migration with these operations does, in a transaction, as `manage.py migrate` would."""
    state = _project_state()
    editor: BaseDatabaseSchemaEditor
    with connections["default"].schema_editor(atomic=True) as editor:
        for operation in operations:
            after: ProjectState = state.clone()
            operation.state_forwards(app, after)
            operation.database_forwards(app, editor, state, after)
            state = after


def _works(connection: _Connection) -> None:
    """Make sure that the mechanism is alive and nothing is broken."""
    for flow in FLOWS:
        if flow.name in ("approve_with_other_pendings", "kick", "leave", "stale_quest_saved_after_approval"):
            world = World()
            flow.run(world)
            assert world.state() == flow.expected, flow.name
    assert {rule for rule, *_ in places(connection)} <= {"participant_without_approval"}
    assert wrong_markers(connection) == {}


def _every_table(make: Callable[[str], list[Operation]]) -> None:
    for app, names in TABLES.items():
        for name in names:
            _apply(app, *make(name))


UNRELATED: dict[str, Callable[[str], list[Operation]]] = {
    "nullable_field": lambda model: [AddField(model, "mood", models.TextField(null=True))],
    "field_kept_by_the_database": lambda model: [AddField(model, "mood", models.TextField(db_default="fine"))],
    "foreign_key": lambda model: [
        AddField(model, "seen_by", models.ForeignKey("users.User", models.SET_NULL, null=True, related_name="+"))
    ],
    "field_altered": lambda model: [
        AddField(model, "mood", models.CharField(max_length=9, db_default="1")),
        AlterField(model, "mood", models.TextField(db_default="1")),
        AlterField(model, "mood", models.TextField(null=True)),
    ],
    "field_renamed_and_removed": lambda model: [
        AddField(model, "mood", models.TextField(null=True)),
        RenameField(model, "mood", "temper"),
        RemoveField(model, "temper"),
    ],
    "index": lambda model: [AddIndex(model, models.Index(fields=["status"], name=f"{model}_by_status"))],
    "constraint": lambda model: [
        AddConstraint(model, models.CheckConstraint(condition=models.Q(pk__gt=0), name=f"{model}_positive"))
    ],
}


@pytest.mark.parametrize("change", UNRELATED)
def test_unrelated_change_works(change: str, attached: _Connection) -> None:
    _every_table(UNRELATED[change])
    _works(attached)


def test_required_field_of_what_the_layer_never_inserts(attached: _Connection) -> None:
    for app, model in (("quests", "quest"), ("applications", "application")):
        _apply(app, AddField(model, "mood", models.CharField(max_length=9, default="fine")))
        # An app whose models know the field gives it a value; this one's do not.
        attached.execute(f"alter table {app}_{model} alter column mood set default 'fine'")
    _works(attached)


def test_required_field_of_participants_needs_a_default_in_the_database(attached: _Connection) -> None:
    """Django takes its own default away again, and the mechanism cannot know what to fill in: db_default can."""
    world = World()
    world.apply("ann")
    _apply("quests", AddField("questparticipant", "mood", models.CharField(max_length=9, default="fine")))

    with pytest.raises(IntegrityError) as refusal:
        world.approve("ann")
    diagnostics = refusal.value.__cause__.diag  # type: ignore[union-attr]
    assert (diagnostics.sqlstate, diagnostics.column_name) == ("23502", "mood")
    # What the fit check would have said before adopting, anybody can ask for at any time.
    found = attached.execute("select subject from integrity.schema_mismatches('public') where subject like '%.mood'")
    assert found.fetchall() == [("column quests_questparticipant.mood",)]

    with connections["default"].schema_editor() as editor:
        state = _project_state()
        AddField("questparticipant", "mood", models.CharField(max_length=9, default="fine")).state_forwards(
            "quests", state
        )
        after = state.clone()
        alter = AlterField("questparticipant", "mood", models.CharField(max_length=9, db_default="fine"))
        alter.state_forwards("quests", after)
        alter.database_forwards("quests", editor, state, after)
    world.approve("ann")
    _works(attached)


def test_existing_field_that_nobody_else_names(attached: _Connection) -> None:
    """Alter, rename and remove columns of the app's own, on all three tables."""
    _apply("quests", AlterField("quest", "resources", models.CharField(max_length=2000, blank=True)))
    _apply("quests", AlterField("quest", "resources", models.TextField(blank=True)))
    _apply("quests", AlterField("questparticipant", "review_notes", models.CharField(max_length=500, null=True)))
    _apply("quests", AlterField("questparticipant", "review_notes", models.TextField(null=True, blank=True)))
    _works(attached)


LONGER_STATUS = {
    "quests.quest": models.CharField(max_length=30, default="open"),
    "quests.questparticipant": models.CharField(max_length=30, default="joined"),
    "applications.application": models.CharField(max_length=30, default="pending"),
}


@pytest.mark.parametrize("model", LONGER_STATUS)
def test_type_of_a_status_is_held_on_to(model: str, attached: _Connection) -> None:
    """Views and triggers name it: PostgreSQL says so, changes nothing, and the database works on."""
    app, name = model.split(".")
    before = snapshot(attached)
    with pytest.raises(NotSupportedError) as refusal:
        _apply(app, AlterField(name, "status", models.TextField()))
    cause = refusal.value.__cause__
    assert isinstance(cause, psycopg.errors.FeatureNotSupported)
    assert changed(before, snapshot(attached)) == {}
    _works(attached)


@pytest.mark.parametrize("model", LONGER_STATUS)
def test_way_around(model: str, attached: _Connection) -> None:
    """Two commands, the app's own migration between them; while it runs the layer is not attached."""
    app, name = model.split(".")
    World().admit("ann", "ben")
    before = snapshot(attached)
    migrate.downgrade(target_of(attached), BELOW_EVERYTHING, ["drop-records=true"])
    _apply(app, AlterField(name, "status", LONGER_STATUS[model]))
    migrate.upgrade(target_of(attached))
    after = snapshot(attached)
    table = f"public.{app}_{name}.status"
    assert {key for key in changed(before, after) if key[0] == "column"} == {("column", table)}
    assert places(attached) == set()
    _works(attached)


def test_way_around_needs_to_go_no_further_up(attached: _Connection) -> None:
    """One revision above it the views are back, and hold on to the column."""
    migrate.downgrade(target_of(attached), "0002_rules", ["drop-records=true"])
    with pytest.raises(NotSupportedError):
        _apply("quests", AlterField("quest", "status", models.TextField()))


def test_migrate_and_makemigrations_beside_the_layer(attached: _Connection) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    call_command("migrate", verbosity=0, interactive=False)
    call_command("migrate", check_unapplied=True, verbosity=0)
    _works(attached)


@pytest.mark.parametrize("field", ["joined_at", "progress_notes"])
def test_field_that_the_layer_needs(field: str, attached: _Connection) -> None:
    """Django drops a column with CASCADE: views that name it go without a word, and functions notice too late.

    Nothing can be done about that from below; but one can still leave, and is told why one cannot come back.
    """
    _apply("quests", RemoveField("questparticipant", field))
    migrate.downgrade(target_of(attached), "base", ["drop-records=true"])
    assert not [name for _, name in snapshot(attached) if "integrity" in name]
    with pytest.raises(UserError):
        migrate.upgrade(target_of(attached))
    assert not [name for _, name in snapshot(attached) if "integrity" in name]
