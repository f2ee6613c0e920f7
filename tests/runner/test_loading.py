"""docs/loading.md: every way of loading there gives every row back as it was, or nothing at all."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import migrate
from checks.target import Target
from tests.django_app import database
from tests.django_app.flows import FLOWS, World
from tests.law.refusal import rules_broken
from tests.runner.test_readme import ROOT, run
from tests.support.database import copy_of, target_of, url_of

_Connection = psycopg.Connection[Any]
Rows = dict[str, list[tuple[Any, ...]]]

DOCUMENT = "docs/loading.md"
TABLES = (
    "applications_application",
    "applications_applicationattempt",
    "quests_quest",
    "quests_questcategory",
    "quests_questcompletionlog",
    "quests_questparticipant",
    "quests_questsubmission",
    "quests_questsubmissionattempt",
    "users_user",
)
MARKERS = ["integrity_approved", "integrity_active", "integrity_assigned"]

# What a reader's own is like, but that its receivers heed raw.
MANAGE = """
import os, sys
sys.path.insert(0, {root!r})
os.environ["DJANGO_APP_DATABASE_URL"] = os.environ["DATABASE_URL"]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_app.settings"
from django.core.management import execute_from_command_line
from django.db.models import signals
import django
django.setup()
if "loaddata" in sys.argv:
    signals.post_save.receivers.clear()
execute_from_command_line(sys.argv)
"""


def _load_empty(*, autocommit: bool, **where: Any) -> None:
    database.create_app_tables(make_conninfo(**where))
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


def _load_lived_in(*, autocommit: bool, **where: Any) -> None:
    """Leave what the app's own flows leave, refusals left out."""
    _load_empty(autocommit=autocommit, **where)
    with database.use(make_conninfo(**where)):
        for flow in FLOWS:
            if flow.refused_by is None:
                flow.run(World())


loading_empty_server = factories.postgresql_noproc(dbname="loading_empty", load=[_load_empty])
lived_in_server = factories.postgresql_noproc(dbname="loading_lived_in", load=[_load_lived_in])
target = copy_of("loading_empty_server")
source = copy_of("lived_in_server")


def rows(connection: _Connection) -> Rows:
    """Return every row of the app's tables as text, without our markers."""
    found = {}
    for table in TABLES:
        statement = sql.SQL("select to_jsonb(t) - %s::text[] from {} as t order by t.id")
        found[table] = connection.execute(statement.format(sql.Identifier(table)), [MARKERS]).fetchall()
    connection.rollback()
    return found


def markers(connection: _Connection) -> list[Any]:
    """Return every marker."""
    found = connection.execute("""
        select 'quest', id, integrity_assigned from quests_quest
        union all select 'application', id, integrity_approved from applications_application
        union all select 'participant', id, integrity_active from quests_questparticipant
        order by 1, 2
    """).fetchall()
    connection.rollback()
    return found


def copy_bytes(connection: _Connection) -> dict[str, bytes]:
    """Return every row as COPY writes it, markers and order of columns included."""
    found = {}
    for table in TABLES:
        statement = sql.SQL("copy (select * from {} order by id) to stdout").format(sql.Identifier(table))
        with connection.cursor().copy(statement) as copying:
            found[table] = b"".join(bytes(part) for part in copying)
    connection.rollback()
    return found


def sound(connection: _Connection) -> None:
    """No rule of severity error is broken, the next ids are free, and the mechanism works."""
    assert rules_broken(connection) == set()
    connection.rollback()
    with database.use(url_of(connection)):
        world = World()
        world.admit("ann")
        assert world.quest().status == "in-progress"


@pytest.fixture(params=["source with the layer", "source without the layer"])
def origin(request: pytest.FixtureRequest, source: _Connection) -> _Connection:
    """Where the rows come from; in its state after the app's flows, consistent with and without the layer."""
    if request.param == "source without the layer":
        migrate.downgrade(target_of(source), "base", ["drop-records=true"])
    return source


@pytest.fixture
def where(origin: _Connection, target: _Connection) -> dict[str, str]:
    return {"SOURCE_URL": url_of(origin), "TARGET_URL": url_of(target)}


def test_fixtures(source: _Connection, tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(MANAGE.format(root=str(ROOT)))
    before = copy_bytes(source)
    assert before["quests_questparticipant"].count(b"\n") > 50

    assert run(DOCUMENT, {"DATABASE_URL": url_of(source)}, tmp_path, "Django fixtures") == 1

    assert copy_bytes(source) == before
    sound(source)


def test_fixtures_with_the_mechanism_on(source: _Connection, tmp_path: Path) -> None:
    """What the page is for: quests come before their participants, and are assigned to the first of them."""
    (tmp_path / "manage.py").write_text(MANAGE.format(root=str(ROOT)))
    before = rows(source)
    # A connection's own options come before PGOPTIONS.
    url = f"{url_of(source)}&options=-c%20integrity.mechanism%3Don"

    run(DOCUMENT, {"DATABASE_URL": url}, tmp_path, "Django fixtures")

    after = rows(source)
    assert [name for name in TABLES if after[name] != before[name]] == ["quests_quest"]
    sound(source)


def test_fixtures_that_are_broken_are_refused_whole(source: _Connection, tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(MANAGE.format(root=str(ROOT)))
    run(DOCUMENT, {"DATABASE_URL": url_of(source)}, tmp_path, "Django fixtures")
    fixtures = tmp_path / "fixtures.xml"
    fixtures.write_text(fixtures.read_text().replace(">pending<", ">approved<"))
    environment = {**os.environ, "DATABASE_URL": url_of(source), "PGOPTIONS": "-c integrity.mechanism=off"}
    for arguments in (["flush", "--no-input"], ["loaddata", "fixtures.xml"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert "integrity_approved_application_" in done.stderr
    assert set(map(len, rows(source).values())) == {0}


def test_dump(origin: _Connection, target: _Connection, where: dict[str, str], tmp_path: Path) -> None:
    assert run(DOCUMENT, where, tmp_path, "Data-only dumps") == 1

    assert rows(target) == rows(origin)
    assert markers(target) == _markers_of(target)

    assert run(DOCUMENT, where, tmp_path, "Empty a database") == 1
    assert set(map(len, rows(target).values())) == {0}

    assert run(DOCUMENT, where, tmp_path, "Anonymised copies") == 1
    anonymised, original = rows(target), rows(origin)
    users, known = anonymised.pop("users_user"), original.pop("users_user")
    assert anonymised == original
    assert [row[0]["id"] for row in users] == [row[0]["id"] for row in known]
    assert {row[0]["username"] for row in users}.isdisjoint(row[0]["username"] for row in known)
    sound(target)


def test_copy(origin: _Connection, target: _Connection, where: dict[str, str], tmp_path: Path) -> None:
    assert run(DOCUMENT, where, tmp_path, "COPY") == 1

    found = rows(target)
    copied_tables = [name for name, content in found.items() if content]
    assert copied_tables == [
        "applications_application",
        "quests_quest",
        "quests_questcategory",
        "quests_questparticipant",
        "users_user",
    ]
    assert {name: found[name] for name in copied_tables} == {name: rows(origin)[name] for name in copied_tables}
    assert markers(target) == _markers_of(target)

    assert run(DOCUMENT, where, tmp_path, "Empty a database") == 1
    assert run(DOCUMENT, where, tmp_path, "When the rows are broken") == 1
    assert set(map(len, rows(target).values())) == {0}
    sound(target)


def _markers_of(connection: _Connection) -> list[Any]:
    """Return what every marker should be."""
    found = connection.execute("""
        select 'quest', id, nullif(assigned_to_id is not null, false) from quests_quest
        union all select 'application', id, nullif(status = 'approved', false) from applications_application
        union all select 'participant', id, nullif(status <> 'dropped', false) from quests_questparticipant
        order by 1, 2
    """).fetchall()
    connection.rollback()
    return found
