"""Every revision can be taken back and taken again, on an empty database and on a live one with every rule broken."""

from typing import Any

import psycopg
import pytest
from alembic import command

from checks import migrate
from checks.migrate import revisions
from tests.support import plant
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.database import target_of
from tests.support.revisions import app_rows

_Connection = psycopg.Connection[Any]


@pytest.fixture
def dirty(app_only: _Connection) -> _Connection:
    """Return a live database with every rule broken."""
    plant.everything(app_only)
    app_only.commit()
    return app_only


@pytest.fixture(params=["empty", "dirty"])
def start(request: pytest.FixtureRequest) -> _Connection:
    connection: _Connection = request.getfixturevalue(request.param)
    connection.autocommit = True
    return connection


def _as_attached(catalog: Snapshot) -> Snapshot:
    # What is validated stays so until it is detached: taking that back would lock tables for nothing.
    return {
        (kind, name): [definition[0].removesuffix(" NOT VALID"), *definition[2:]]
        if kind == "constraint"
        else definition
        for (kind, name), definition in catalog.items()
    }


def _taken_back(before: Snapshot, now: Snapshot) -> Snapshot:
    return changed(_as_attached(before), _as_attached(now))


def test_up_down_up(start: _Connection) -> None:
    """The catalog after a revision is the same however often it was taken back; at base there is nothing left."""
    target = target_of(start)
    rows = app_rows(start)
    base = snapshot(start)
    stairs: list[tuple[str, Snapshot]] = [("base", base)]
    for revision in revisions():
        below, before = stairs[-1]
        migrate.upgrade(target, revision)
        after = snapshot(start)
        assert changed(before, after), f"{revision} changes nothing"
        migrate.downgrade(target, below)
        assert _taken_back(before, snapshot(start)) == {}, f"down from {revision}"
        migrate.upgrade(target, revision)
        assert changed(after, snapshot(start)) == {}, f"up again to {revision}"
        stairs.append((revision, after))

    stairs.pop()
    while stairs:
        below, before = stairs.pop()
        migrate.downgrade(target, below)
        assert _taken_back(before, snapshot(start)) == {}, f"down to {below}"
    assert changed(base, snapshot(start)) == {}
    assert app_rows(start) == rows


def test_in_one_go(start: _Connection) -> None:
    """All the way up and all the way down leaves what step by step leaves."""
    target = target_of(start)
    base = snapshot(start)
    migrate.upgrade(target)
    head = snapshot(start)
    migrate.downgrade(target, "base")
    assert changed(base, snapshot(start)) == {}
    for revision in revisions():
        migrate.upgrade(target, revision)
    assert changed(head, snapshot(start)) == {}
    # There is nothing more to do, and doing it changes nothing.
    migrate.upgrade(target)
    assert changed(head, snapshot(start)) == {}


def test_a_stamp_runs_nothing(migrated: _Connection) -> None:
    """`alembic stamp` has steps of another kind; the damage of the layer is not its matter."""
    before = snapshot(migrated)
    for revision in (revisions()[-2], "head"):
        command.stamp(migrate.config(target_of(migrated)), revision)
    assert migrate.current_revision(migrated) == revisions()[-1]
    assert changed(before, snapshot(migrated)) == {}
