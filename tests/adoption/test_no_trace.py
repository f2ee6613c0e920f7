"""Adoption rewrites no table, and going back leaves the app's schema as it was, to the letter."""

from typing import Any

import psycopg
import pytest

from checks import migrate
from checks.migrate import revisions
from tests.support.catalog import Snapshot, changed, rewritten, snapshot, written_grants
from tests.support.database import target_of
from tests.support.programs import dump_schema
from tests.support.proof import enforce, repair
from tests.support.revisions import app_rows

_Connection = psycopg.Connection[Any]

# Tables, their indexes and what is kept beside them.
FILES = "select oid::regclass::text, relfilenode from pg_class where oid >= 16384 and relfilenode <> 0"


def _files(connection: _Connection) -> dict[str, int]:
    return dict(connection.execute(FILES).fetchall())


def _moved(connection: _Connection, before: dict[str, int]) -> dict[str, int]:
    now = _files(connection)
    return {name: file for name, file in before.items() if now.get(name) != file}


@pytest.fixture(params=["live", "dirty"])
def adopted(request: pytest.FixtureRequest) -> _Connection:
    connection: _Connection = request.getfixturevalue(request.param)
    return connection


def test_no_table_is_rewritten(adopted: _Connection) -> None:
    before = _files(adopted)
    assert "quests_questparticipant" in before
    for revision in revisions():
        migrate.upgrade(target_of(adopted), revision)
        assert _moved(adopted, before) == {}, revision
    migrate.downgrade(target_of(adopted), "base", ["drop-records=true"])
    assert _moved(adopted, before) == {}


def test_going_back_leaves_the_schema_to_the_letter(adopted: _Connection) -> None:
    before, rows, catalog = dump_schema(adopted), app_rows(adopted), snapshot(adopted)
    grants = written_grants(adopted)
    assert any("quests_questparticipant" in line for line in before)
    migrate.upgrade(target_of(adopted))
    assert dump_schema(adopted) != before
    assert rewritten(grants, written_grants(adopted))
    migrate.downgrade(target_of(adopted), "base", ["drop-records=true"])
    assert dump_schema(adopted) == before
    assert changed(catalog, snapshot(adopted)) == {}
    assert rewritten(grants, written_grants(adopted)) == {}
    assert app_rows(adopted) == rows


def test_going_back_after_repairs_keeps_the_repaired_rows(dirty: _Connection) -> None:
    """Whoever leaves does not get the broken rows back, nor loses what was written meanwhile."""
    before = dump_schema(dirty, "public")
    migrate.upgrade(target_of(dirty))
    repair(dirty)
    enforce(dirty)
    rows = app_rows(dirty)
    migrate.downgrade(target_of(dirty), "base", ["drop-records=true"])
    assert app_rows(dirty) == rows
    # But for the unique key that the planting of duplicates took away, which was never ours.
    assert dump_schema(dirty, "public") == before


def test_other_schemas_and_tables_are_not_touched(adopted: _Connection) -> None:
    """Foreign keys onto the app's tables, a view, a function, grants, a publication: all of it stays."""
    before = _of_others(snapshot(adopted))
    assert any("rewards.badge" in name for _, name in before)
    migrate.upgrade(target_of(adopted))
    assert changed(before, _of_others(snapshot(adopted))) == {}


def _of_others(catalog: Snapshot) -> Snapshot:
    return {
        (kind, name): definition
        for (kind, name), definition in catalog.items()
        if "integrity" not in name and kind != "rows"
    }
