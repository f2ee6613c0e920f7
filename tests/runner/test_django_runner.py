"""checks.django: Django's and pytest-django's test databases with the layer; each test runs the app's own suite."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from checks import migrate
from tests.conftest import SERVER_VARIABLE
from tests.support.programs import ROOT

FLAG = "--fail-on-integrity-violations"
SUITE = "tests.django_app.suite"


@pytest.fixture
def server() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Yield a session of the server, from which the test databases are dropped in the end."""
    host, port = os.environ[SERVER_VARIABLE].rsplit(":", 1)
    with psycopg.connect(host=host, port=port, user="postgres", dbname="postgres", autocommit=True) as connection:
        yield connection
        for name in databases(connection):
            connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


def name_of_database() -> str:
    return f"django_suite_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


def databases(server: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    found = server.execute(
        "select datname from pg_database where datname like %s order by datname", [f"test\\_{name_of_database()}%"]
    )
    return [str(name) for (name,) in found]


def ran(
    server: psycopg.Connection[tuple[object, ...]],
    *command: str,
    cwd: Path = ROOT,
    settings_module: str = "tests.django_app.settings",
) -> tuple[int, str]:
    url = f"host={server.info.host} port={server.info.port} user=postgres dbname={name_of_database()}"
    settings = {
        "DJANGO_SETTINGS_MODULE": settings_module,
        "DJANGO_APP_DATABASE_URL": url,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(cwd))),
    }
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=250,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_runner(server: psycopg.Connection[tuple[object, ...]]) -> None:
    """In parallel, then again in the databases that were kept."""
    flows = [f"{SUITE}.{name}" for name in ("InTestCase", "InTransactionTestCase")]
    code, said = ran(server, "django", "test", "--parallel", "2", "--keepdb", FLAG, *flows)
    assert code == 0, said
    assert re.search(r"^Ran \d+ tests", said, re.M), said
    # The first, which the others were cloned from.
    name = f"test_{name_of_database()}"
    assert databases(server) == [name, f"{name}_1", f"{name}_2"]
    for each in databases(server):
        with psycopg.connect(server.info.dsn, dbname=each) as session:
            assert migrate.current_revision(session) == migrate.head_revision()

    leaves = [f"{SUITE}.{name}" for name in ("LeavesInTestCase", "LeavesInTransactionTestCase")]
    code, said = ran(server, "django", "test", "--keepdb", FLAG, *leaves)
    assert code == 1
    assert "Ran 4 tests" in said
    # In TestCase Django looks at the deferred constraints, too.
    assert "FAILED (failures=2, errors=1)" in said
    assert len(re.findall("^FAIL: test_leaves", said, re.M)) == 2
    assert said.count("[approved_without_participant:application=") == 2


LATER_SETTINGS = """
from tests.django_app.settings import *
MIGRATION_MODULES = {"quests": "later_migrations"}
"""
LATER_MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("quests", "0001_initial")]
    operations = [migrations.AlterField("quest", "status", models.CharField(max_length=40, default="open"))]
"""


def test_a_kept_database_and_a_migration_that_views_stand_in_the_way_of(
    server: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """As docs/django.md says: once without --keepdb."""
    shutil.copytree(ROOT / "tests" / "django_app" / "quests" / "migrations", tmp_path / "later_migrations")
    (tmp_path / "later_migrations" / "0002_longer_status.py").write_text(LATER_MIGRATION)
    (tmp_path / "later_settings.py").write_text(LATER_SETTINGS)
    test = ("django", "test", "--noinput", f"{SUITE}.LeavesInTestCase.test_sound")
    code, said = ran(server, *test, "--keepdb")
    assert code == 0, said

    code, said = ran(server, *test, "--keepdb", cwd=tmp_path, settings_module="later_settings")
    assert code == 1
    assert "cannot alter type of a column used by a view or rule" in said

    for keep in ((), ("--keepdb",)):
        code, said = ran(server, *test, *keep, cwd=tmp_path, settings_module="later_settings")
        assert code == 0, said


PYTEST_SUITE = """
import pytest
from tests.django_app.suite import InTestCase, InTransactionTestCase, LeavesInTestCase, leave_a_violation

@pytest.mark.django_db
def test_function(integrity_violations):
    leave_a_violation()
    assert "approved_without_participant" in {each.rule for each in integrity_violations()}

@pytest.mark.django_db(transaction=True)
def test_committed(integrity_violations):
    assert integrity_violations() == ()
    leave_a_violation()
"""


def test_pytest_django(server: psycopg.Connection[tuple[object, ...]], tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(PYTEST_SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nusefixtures = integrity_connection\n")
    without = ("-p", "no:postgresql", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")
    some = "Leaves or function or committed or (InTestCase and flows_0)"
    code, said = ran(server, "pytest", "-v", FLAG, *without, "-k", some, cwd=tmp_path)
    assert code == 1, said
    assert re.search(r"LeavesInTestCase::test_leaves FAILED", said), said
    assert re.search(r"LeavesInTestCase::test_sound PASSED", said), said
    assert re.search(r"InTestCase::test_flows_0 PASSED", said), said
    assert re.search(r"^ERROR test_app.py::test_function", said, re.M), said
    assert re.search(r"^(\d+) of \1 tests audited, 3 left violations", said, re.M), said
    assert databases(server) == []
