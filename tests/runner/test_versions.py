"""A database and a package of different versions: every command says which of them to upgrade, and changes nothing."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import typer.main
from pytest_postgresql import factories
from typer.core import TyperGroup

from checks import migrate
from checks.cli import app
from tests.support import templates
from tests.support.cli import Ran, run, run_at
from tests.support.database import copy_of, url_of
from tests.support.programs import alembic

_Connection = psycopg.Connection[Any]

UNKNOWN = "9999_future"
# What a command cannot do without; a new one whose arguments are missing here fails.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "explain": ("unknown_status",),
    "undo": ("1",),
    "enforce": ("duplicate_pending",),
    "relax": ("duplicate_pending",),
    "report": ("--html", "/dev/null"),
    "around": ("--", "true"),
    "downgrade": ("base",),
}
# Options by which a command does something else.
OPTIONS: list[tuple[str, ...]] = [
    ("audit", "--format", "json"),
    ("audit", "--fix-issues", "--dry-run"),
    ("audit", "--fix-issues", "--yes", "--missing-participant", "create"),
    ("audit", "--record"),
    ("guards", "--fix", "--yes"),
    ("guards", "--against-package"),
    ("guards", "--probe"),
    ("history", "--keep", "1 day"),
    ("statuses", "--add", "quests_quest:archived"),
    ("upgrade", "0001_app_tables"),
    ("downgrade", "0001_app_tables"),
]
# They name no database of the user's.
WITHOUT_DATABASE = {"server", "demo"}
MOVING = {"upgrade", "downgrade"}
# For a migration of the app that cannot wait for the layer's.
AT_ANY_REVISION_THAT_HAS_THEM = {"detach", "attach", "around"}


def _commands() -> Iterator[tuple[str, ...]]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    yield from ((name, *ARGUMENTS.get(name, ())) for name in group.commands if name not in WITHOUT_DATABASE)
    yield from OPTIONS


COMMANDS = list(_commands())
every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


def _of_tomorrow(connection: _Connection) -> None:
    """Leave what a later version may have made: no column of the layer's tables has the name that this one knows."""
    columns = """
    select class.relname, attribute.attname
    from pg_class as class
    inner join pg_attribute as attribute on class.oid = attribute.attrelid
    where
      class.relnamespace = 'integrity'::regnamespace
      and class.relkind in ('r', 'p')
      and not class.relispartition
      and class.relname <> 'alembic_version'
      and attribute.attnum > 0
    """
    for table, column in connection.execute(columns).fetchall():
        connection.execute(f"alter table integrity.{table} rename {column} to {column}_of_tomorrow".encode())
    connection.execute("update integrity.alembic_version set version_num = %s", [UNKNOWN])


def _made(name: str, revision: str, then: Callable[[_Connection], None] | None = None) -> Any:
    return factories.postgresql_noproc(dbname=name, load=[templates.app_tables(templates.sync_001, revision, then)])


previous_server = _made("previous", migrate.revisions()[-2])
oldest_server = _made("oldest", migrate.revisions()[0])
future_server = _made("future", "head", _of_tomorrow)
previous, oldest, future = map(copy_of, ("previous_server", "oldest_server", "future_server"))


def assert_one_sentence(ran: Ran, *said: str) -> None:
    assert (ran.code, ran.out, "Traceback" in ran.err) == (2, "", False)
    _database, sentence = ran.err.splitlines()
    assert sentence.startswith("error: ")
    for each in said:
        assert each in sentence


def run_reading(connection: _Connection, *command: str) -> Ran:
    """Run a command where no transaction can write: one that changed something first would end with 25006."""
    connection.commit()
    return run_at(f"{url_of(connection)}&options=-c%20default_transaction_read_only%3Don", *command)


@every_command
def test_newer_database_and_older_package(future: _Connection, command: tuple[str, ...]) -> None:
    assert_one_sentence(
        run_reading(future, *command), UNKNOWN, "newer version of quest-integrity", "upgrade the package"
    )


@pytest.mark.parametrize("command", [("upgrade", "head"), ("downgrade", "base"), ("check",)], ids=" ".join)
def test_alembic_itself_on_a_newer_database(future: _Connection, command: tuple[str, ...]) -> None:
    process = alembic(future, *command)
    out, err = process.communicate(timeout=60)
    assert_one_sentence(Ran(process.returncode, out, err), UNKNOWN, "upgrade the package")


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if command[0] not in MOVING | AT_ANY_REVISION_THAT_HAS_THEM],
    ids=" ".join,
)
def test_older_database_and_newer_package(previous: _Connection, command: tuple[str, ...]) -> None:
    assert_one_sentence(run_reading(previous, *command), migrate.revisions()[-2], "run `quest-integrity upgrade`")


@pytest.mark.parametrize("command", [("detach",), ("attach",), ("around", "--", "true"), ("audit",)], ids=" ".join)
def test_much_older_database(oldest: _Connection, command: tuple[str, ...]) -> None:
    assert_one_sentence(run_reading(oldest, *command), migrate.revisions()[0], "run `quest-integrity upgrade`")


def test_the_upgrade_that_they_ask_for(oldest: _Connection, previous: _Connection) -> None:
    for connection in (oldest, previous):
        assert run(connection, "upgrade").code == 0
        assert run(connection, "audit").code == 1
