"""Alembic from Python, and what a database's revision means for the runner."""

from typing import Any

import psycopg
import pytest
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from checks import migrate
from checks.errors import UserError
from tests.support.cli import run
from tests.support.database import target_of
from tests.support.revisions import scripts


def at(connection: psycopg.Connection[Any], revision: str) -> None:
    connection.execute("UPDATE integrity.alembic_version SET version_num = %s", [revision])
    connection.commit()


def test_revisions_are_those_of_alembic() -> None:
    assert migrate.revisions() == [script.revision for script in scripts().walk_revisions()][::-1]
    assert [migrate.head_revision()] == scripts().get_heads()


def test_options_reach_the_environment(empty: psycopg.Connection[Any]) -> None:
    target = target_of(empty)
    config = migrate.config(target, ["lock-timeout=1s", "drop-app-tables=true"])
    context = EnvironmentContext(config, ScriptDirectory.from_config(config))
    assert context.get_x_argument(as_dictionary=True) == {"lock-timeout": "1s", "drop-app-tables": "true"}
    assert config.attributes["target"] is target


def test_a_database_that_is_not_migrated(empty: psycopg.Connection[Any]) -> None:
    assert migrate.current_revision(empty) is None
    with pytest.raises(UserError, match="is not migrated: run `quest-integrity upgrade`"):
        migrate.require_current(empty)


def test_up_and_down(empty: psycopg.Connection[Any]) -> None:
    target = target_of(empty)
    migrate.upgrade(target)
    assert migrate.current_revision(empty) == migrate.head_revision()
    migrate.require_current(empty)
    empty.commit()
    migrate.downgrade(target, "base")
    assert migrate.current_revision(empty) is None


def test_the_commands(app_only: psycopg.Connection[Any]) -> None:
    ran = run(app_only, "upgrade", "0002_rules")
    assert (ran.code, ran.out, "now at revision 0002_rules" in ran.err) == (0, "", True)
    assert migrate.current_revision(app_only) == "0002_rules"
    ran = run(app_only, "downgrade", "base")
    assert (ran.code, ran.out, "nothing of the integrity layer is left" in ran.err) == (0, "", True)
    assert migrate.current_revision(app_only) is None


def test_a_database_at_an_older_revision(migrated: psycopg.Connection[Any]) -> None:
    oldest = migrate.revisions()[0]
    at(migrated, oldest)
    with pytest.raises(UserError, match=f"older revision {oldest}, expected .*: run `quest-integrity upgrade`"):
        migrate.require_current(migrated)


def test_a_database_that_a_newer_version_migrated(migrated: psycopg.Connection[Any]) -> None:
    at(migrated, "9999")
    newer = r"newer version of quest-integrity \(revision 9999 is unknown here\): upgrade the package"
    with pytest.raises(UserError, match=newer):
        migrate.require_current(migrated)
    migrated.rollback()
    for move in (migrate.upgrade, migrate.downgrade):
        with pytest.raises(UserError, match=newer):
            move(target_of(migrated), "base")


def test_a_revision_that_does_not_exist(empty: psycopg.Connection[Any]) -> None:
    with pytest.raises(UserError, match=r"cannot migrate to nowhere: .*nowhere"):
        migrate.upgrade(target_of(empty), "nowhere")
