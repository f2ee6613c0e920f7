"""The table of docs/adopting.md about later Django migrations, each row run by `manage.py migrate` over rows.

Every migration is tried as it is, and where that is refused or would break approvals, within `around`. What is refused
there too is taken back, and the layer attached again.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.test import override_settings
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import around, attachment, guards
from tests.django_app import database
from tests.support import plant
from tests.support.catalog import changed, snapshot
from tests.support.cli import Ran, run, run_at
from tests.support.database import another, copy_of, url_of
from tests.support.programs import ROOT
from tests.support.proof import attach, places
from tests.support.revisions import app_rows

_Connection = psycopg.Connection[Any]

PENDING = "because it has pending trigger events"
HELD = "cannot alter type of a column used by a"
APPS = ("users", "quests", "applications")

MIGRATION = """
from django.db import migrations, models
from django.db.models.functions import Length


def approve_everybody(apps, schema_editor):
    apps.get_model("applications", "Application").objects.filter(status="pending").update(status="approved")


def describe(apps, schema_editor):
    apps.get_model("quests", "Quest").objects.update(description="described")


class Migration(migrations.Migration):
    dependencies = [("users", "0001_initial"), ("quests", "0001_initial"), ("applications", "0001_initial")]
    operations = [
        {operations}
    ]
"""


@dataclass(frozen=True)
class Later:
    """A migration of the app.

    Args:
        row: The first words of its row in the table.
        app: Whose migration it is.
        operations: What it does.
        verdict: As the table says: works, around or refused.
        said: What `migrate` says when it is refused by itself.
        broken: Without `around` it runs, and the guards say that approvals fail.
        unfit: What `attach` says when it is refused within `around`.
    """

    row: str
    app: str
    operations: str
    verdict: str
    said: str = ""
    broken: bool = False
    unfit: str = ""


PARTICIPANT_STATUS = 'migrations.AlterField("questparticipant", "status", models.{0}default="joined"))'
LATER = {
    "table_of_its_own": Later(
        "a table of its own",
        "quests",
        'migrations.CreateModel("Badge", [("id", models.BigAutoField(primary_key=True))])',
        "works",
    ),
    "nullable_field": Later(
        "a new nullable field",
        "quests",
        'migrations.AddField("questparticipant", "mood", models.TextField(null=True))',
        "works",
    ),
    "field_with_db_default": Later(
        "a new NOT NULL field with `db_default=`",
        "quests",
        'migrations.AddField("questparticipant", "mood", models.CharField(max_length=9, db_default="fine"))',
        "works",
    ),
    "field_with_default_of_a_quest": Later(
        "a new NOT NULL field with `default=` on quests or applications",
        "quests",
        'migrations.AddField("quest", "mood", models.CharField(max_length=9, default="fine"))',
        "works",
    ),
    "field_with_default_of_a_participant": Later(
        "a new NOT NULL field with `default=` on participants",
        "quests",
        'migrations.AddField("questparticipant", "mood", models.CharField(max_length=9, default="fine"))',
        "refused",
        broken=True,
        unfit="column quests_questparticipant.mood: found not null without a default",
    ),
    "other_field_altered": Later(
        "another type for a field that the layer does not name",
        "quests",
        'migrations.AlterField("quest", "xp_reward", models.PositiveBigIntegerField(default=50)),'
        ' migrations.AlterField("questparticipant", "review_notes", models.CharField(max_length=99, null=True))',
        "works",
    ),
    "longer_status_of_a_participant": Later(
        "a longer `status`", "quests", PARTICIPANT_STATUS.format("CharField(max_length=30, "), "around", said=HELD
    ),
    "status_as_text": Later(
        "a longer `status`", "quests", PARTICIPANT_STATUS.format("TextField("), "around", said=HELD
    ),
    "longer_status_of_a_quest": Later(
        "a longer `status`",
        "quests",
        'migrations.AlterField("quest", "status", models.CharField(max_length=30, default="open"))',
        "around",
        said=HELD,
    ),
    "longer_status_of_an_application": Later(
        "a longer `status`",
        "applications",
        'migrations.AlterField("application", "status", models.CharField(max_length=30, default="pending"))',
        "around",
        said=HELD,
    ),
    "longer_username": Later(
        "a longer `username`",
        "users",
        'migrations.AlterField("user", "username", models.CharField(max_length=254, unique=True))',
        "around",
        said=HELD,
    ),
    "another_integer": Later(
        "another integer type for an id",
        "quests",
        'migrations.AlterField("questparticipant", "id", models.AutoField(primary_key=True))',
        "refused",
        said=HELD,
        unfit="column quests_questparticipant.id: found integer; expected bigint",
    ),
    "field_renamed": Later(
        "renaming a field that the layer names",
        "quests",
        'migrations.RenameField("questparticipant", "joined_at", "since")',
        "refused",
        broken=True,
        unfit="column quests_questparticipant.joined_at: found missing",
    ),
    "field_renamed_keeping_its_column": Later(
        "the same with `db_column=`",
        "quests",
        'migrations.AlterField("questparticipant", "joined_at", models.DateTimeField(db_column="joined_at")),'
        ' migrations.RenameField("questparticipant", "joined_at", "since")',
        "works",
    ),
    "field_removed": Later(
        "removing a field that the layer names",
        "quests",
        'migrations.RemoveField("questparticipant", "progress_notes")',
        "refused",
        broken=True,
        unfit="column quests_questparticipant.progress_notes: found missing",
    ),
    "legacy_field_removed": Later(
        "removing or renaming another field",
        "quests",
        'migrations.RemoveField("questparticipant", "application_id")',
        "works",
    ),
    "model_renamed": Later(
        "renaming a model or its table",
        "quests",
        'migrations.RenameModel("QuestParticipant", "Membership")',
        "refused",
        broken=True,
        unfit="table public.quests_questparticipant: found missing",
    ),
    "model_renamed_keeping_its_table": Later(
        "the same with `db_table`",
        "quests",
        'migrations.AlterModelTable("questparticipant", "quests_questparticipant"),'
        ' migrations.RenameModel("QuestParticipant", "Membership")',
        "works",
    ),
    "null_to_not_null": Later(
        "null to NOT NULL on quests or applications",
        "quests",
        'migrations.AlterField("quest", "due_date", models.DateField(default="2030-01-01"))',
        "works",
    ),
    "null_to_not_null_of_a_participant": Later(
        "null to NOT NULL on participants",
        "quests",
        'migrations.AlterField("questparticipant", "review_notes", models.TextField(default=""))',
        "refused",
        broken=True,
        unfit="column quests_questparticipant.review_notes: found not null without a default",
    ),
    "index": Later(
        "a new index or constraint",
        "quests",
        'migrations.AddIndex("questparticipant", models.Index(fields=["status", "joined_at"], name="by_status"))',
        "works",
    ),
    "constraint": Later(
        "a new index or constraint",
        "quests",
        'migrations.AddConstraint("quest", models.CheckConstraint(condition=models.Q(pk__gt=0), name="positive"))',
        "works",
    ),
    "data_that_concerns_no_rule": Later(
        "`RunPython` over fields that the layer does not name, then a schema change",
        "quests",
        "migrations.RunPython(describe, migrations.RunPython.noop),"
        ' migrations.AddField("quest", "mood", models.TextField(null=True))',
        "works",
    ),
    "data_before_a_field": Later(
        "`RunPython` over statuses or assignees, then a schema change of the table in the same migration",
        "applications",
        "migrations.RunPython(approve_everybody, migrations.RunPython.noop),"
        ' migrations.AddField("application", "mood", models.TextField(null=True))',
        "refused",
        said=PENDING,
    ),
}


def _load(**where: Any) -> None:
    database.create_app_tables(make_conninfo(**{name: value for name, value in where.items() if name != "autocommit"}))
    with psycopg.connect(**{name: value for name, value in where.items() if name != "autocommit"}) as connection:
        plant.sound_rows(connection)
        attach(connection)


migrating_server = factories.postgresql_noproc(dbname="migrating", load=[_load])
migrating = copy_of("migrating_server")


class Manage:
    """A manage.py of the app's next release, in this process, which has imported Django."""

    def __init__(self, folder: Path, url: str, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
        # One process imports the migrations of many tests.
        package = folder.name
        for app in APPS:
            shutil.copytree(ROOT / "tests" / "django_app" / app / "migrations", folder / package / app)
        (folder / package / later.app / "0002_later.py").write_text(MIGRATION.format(operations=later.operations))
        monkeypatch.syspath_prepend(folder)
        self._modules = {app: f"{package}.{app}" for app in APPS}
        self._app, self._url, self._monkeypatch = later.app, url, monkeypatch

    def migrate(self, to: str = "0002") -> str:
        """Return what it says when it fails."""
        with database.use(self._url), override_settings(MIGRATION_MODULES=self._modules):
            try:
                call_command("migrate", self._app, to, interactive=False, verbosity=0)
            except DatabaseError as error:
                return str(error)
        return ""

    def around(self, to: str = "0002") -> Ran:
        """Migrate where `around` would start a command, which fails as Django's does: with exit code 1."""
        self._monkeypatch.setattr(around, "_command", lambda *_: int(self.migrate(to) != ""))
        return run_at(self._url, "around", "--", "true")


@pytest.fixture
def manage(
    request: pytest.FixtureRequest, migrating: _Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Manage:
    migrating.autocommit = True
    return Manage(tmp_path, url_of(migrating), LATER[request.node.callspec.params["name"]], monkeypatch)


def _rows(connection: _Connection) -> dict[str, list[str]]:
    return {table: rows for table, rows in app_rows(connection).items() if table != "django_migrations"}


def _damage(connection: _Connection) -> list[guards.Guard]:
    with another(connection, autocommit=True) as session:
        return guards.damaged(session)


def _assert_alive(connection: _Connection) -> None:
    """Make sure that the layer is whole and that an approval still makes the participant, if one is to be had."""
    assert _damage(connection) == []
    approved = connection.execute(
        "update applications_application set status = 'approved' where status in ('pending', 'kicked')"
        " returning quest_id, applicant_id"
    ).fetchall()
    for quest_id, user_id in approved:
        found = connection.execute(
            "select status from quests_questparticipant where quest_id = %s and user_id = %s", [quest_id, user_id]
        ).fetchall()
        assert found == [("joined",)]
    assert {rule for rule, *_ in places(connection)} <= {"participant_without_approval"}


def named(verdict: str) -> Any:
    names = [name for name, later in LATER.items() if later.verdict == verdict]
    return pytest.mark.parametrize("name", names)


@named("works")
def test_works_as_it_is(name: str, manage: Manage, migrating: _Connection) -> None:
    assert manage.migrate() == ""
    _assert_alive(migrating)


@named("around")
def test_works_with_around(name: str, manage: Manage, migrating: _Connection) -> None:
    before, rows = snapshot(migrating), _rows(migrating)
    said = manage.migrate()
    assert said != ""
    assert LATER[name].said in said
    assert changed(before, snapshot(migrating)) == {}

    ran = manage.around()
    assert ran.code == 0, ran.err
    # The columns, and how PostgreSQL prints what reads one that is text now.
    assert {kind for kind, _ in changed(before, snapshot(migrating))} <= {"column", "constraint", "view"}
    assert _rows(migrating) == rows
    _assert_alive(migrating)
    # And back, whatever the guards know now.
    assert manage.around("0001").code == 0
    assert changed(before, snapshot(migrating)) == {}
    _assert_alive(migrating)


@named("refused")
def test_refused(name: str, manage: Manage, migrating: _Connection) -> None:
    later = LATER[name]
    before = snapshot(migrating)
    ran = manage.around()
    if not later.unfit:
        assert ran.code == 1
        assert attachment.since(migrating) is None
        assert changed(before, snapshot(migrating)) == {}
        _assert_alive(migrating)
        return
    assert ran.code == 3
    assert later.unfit in ran.err
    assert attachment.since(migrating)
    # The way back.
    assert manage.migrate("0001") == ""
    ran = run(migrating, "attach")
    assert ran.code == 0, ran.err
    _assert_alive(migrating)


@pytest.mark.parametrize("name", [name for name, later in LATER.items() if later.verdict == "refused"])
def test_what_is_refused_does_not_break_approvals_in_silence(name: str, manage: Manage, migrating: _Connection) -> None:
    later = LATER[name]
    before = snapshot(migrating)
    said = manage.migrate()
    assert (said == "") is later.broken, said
    if later.broken:
        assert _damage(migrating) != []
        assert run(migrating, "guards").code == 3
    else:
        assert later.said in said
        assert changed(before, snapshot(migrating)) == {}
        _assert_alive(migrating)


def test_the_table_says_so() -> None:
    text = (ROOT / "docs" / "adopting.md").read_text()
    table = text.partition("## Later Django migrations")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (works|`around`|refused) \|.*\|$", table, re.M)
    said = {(what, verdict.strip("`")) for what, verdict in rows}
    assert said == {(later.row, later.verdict) for later in LATER.values()}
