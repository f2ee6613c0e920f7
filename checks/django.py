"""The layer in the databases of Django's tests: `TEST_RUNNER = "checks.django.IntegrityRunner"` is all it takes.

It is attached after `migrate`, before clones are made for `--parallel`. Under pytest-django the same setting counts.
Nothing else of this package imports Django.
"""

import io
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.test import TransactionTestCase
from django.test.runner import DiscoverRunner
from django.test.utils import iter_test_cases
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from checks import migrate, suites
from checks.target import Target

FLAG = "--fail-on-integrity-violations"
APP_SCHEMA = """
select schema.nspname
from pg_catalog.pg_class as class
inner join pg_catalog.pg_namespace as schema on class.relnamespace = schema.oid
where class.relname = 'quests_quest' and pg_catalog.pg_table_is_visible(class.oid)
"""


class IntegrityRunner(DiscoverRunner):  # type: ignore[misc]
    """Django's own runner, whose test databases have the layer."""

    def __init__(self, *arguments: Any, fail_on_integrity_violations: bool = False, **options: Any) -> None:
        """Remember the flag."""
        super().__init__(*arguments, **options)
        self._fails = fail_on_integrity_violations

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add the flag to `manage.py test`."""
        super().add_arguments(parser)
        parser.add_argument(FLAG, action="store_true", help="Fail every test that leaves violations of severity error.")

    def build_suite(self, *arguments: Any, **options: Any) -> Any:
        """Have each test look at what it leaves, if asked to; the tests go to other processes with it."""
        suite = super().build_suite(*arguments, **options)
        if self._fails:
            for test in iter_test_cases(suite):
                if isinstance(test, TransactionTestCase):
                    test.addCleanup(assert_no_violations, test.databases)
        return suite

    def setup_databases(self, **options: Any) -> Any:
        """Create the test databases, each with the layer."""
        with attaching(self.verbosity):
            return super().setup_databases(**options)


class QuestRouted:
    """For models with a `quest` on Citus: a save goes to the one node that has the row, see docs/citus.md.

    Name it before `models.Model`: `class Application(QuestRouted, models.Model)`.
    """

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *more: Any) -> Any:
        """Look for the row by its quest too, and do not write that: Citus refuses to, even with the same value.

        Raises:
            DatabaseError: the row is of another quest. Citus moves none; delete it and insert another.
        """
        others = [value for value in values if value[0].attname != "quest_id"]
        mine = base_qs.filter(quest_id=self.quest_id)  # type: ignore[attr-defined]
        updated = super()._do_update(mine, using, pk_val, others, *more)  # type: ignore[misc]
        if not updated and base_qs.filter(pk=pk_val).exists():
            raise DatabaseError(f"{self} cannot move to quest {self.quest_id}")  # type: ignore[attr-defined]
        return updated


def assert_no_violations(databases: Iterable[str]) -> None:
    """Fail a test that leaves violations, before Django rolls it back or empties the tables.

    Raises:
        AssertionError: with the violations of severity error.
    """
    if found := violations_left(connections if databases == "__all__" else databases):
        raise AssertionError("violations left:\n" + "\n".join(found))


def violations_left(databases: Iterable[str]) -> list[str]:
    """Return the violations of severity error in those of the databases that have the layer."""
    found: list[str] = []
    for connection in (connections[alias] for alias in databases):
        if connection.vendor == "postgresql":
            connection.ensure_connection()
            found += suites.errors_left(connection.connection)
    return found


@contextmanager
def attaching(verbosity: int) -> Iterator[None]:
    """Attach the layer to each test database that is created inside, before Django clones it.

    Raises:
        ImproperlyConfigured: none of them has the app's tables.
    """
    creations = [connection.creation for connection in connections.all() if connection.vendor == "postgresql"]
    attached: list[bool] = []
    for creation in creations:
        _attach_to_what_it_creates(creation, attached, verbosity)
    try:
        yield
    finally:
        for creation in creations:
            del creation.create_test_db, creation.clone_test_db
    if attached and not any(attached):
        raise ImproperlyConfigured("no test database has a table quests_quest, so the layer was attached to none")


def _attach_to_what_it_creates(creation: Any, attached: list[bool], verbosity: int) -> None:
    create, clone = creation.create_test_db, creation.clone_test_db

    def create_test_db(*arguments: Any, **options: Any) -> Any:
        name = create(*arguments, **options)
        attached.append(_attach(_conninfo(creation.connection), verbosity))
        return name

    def clone_test_db(suffix: str, *arguments: Any, **options: Any) -> None:
        clone(suffix, *arguments, **options)
        # One that --keepdb has kept may be older than the layer.
        _attach(_conninfo(creation.connection, creation.get_test_db_clone_settings(suffix)["NAME"]), verbosity)

    creation.create_test_db, creation.clone_test_db = create_test_db, clone_test_db


def _attach(conninfo: str, verbosity: int) -> bool:
    """Attach the layer where the app's tables are, unless it is there; return whether they are."""
    target = Target(conninfo, "test database")
    with target.connect() as session:
        row = session.execute(APP_SCHEMA).fetchone()
        current = migrate.current_revision(session)
    if row is None:
        return False
    if current != migrate.head_revision():
        upgrade: Callable[[], None] = lambda: migrate.upgrade(target, x=[f"app-schema={row[0]}"])  # noqa: E731
        if verbosity > 1:
            upgrade()
        else:
            with redirect_stderr(io.StringIO()):
                upgrade()
    return True


def _conninfo(connection: Any, database: str | None = None) -> str:
    """Return how libpq finds the database of a connection of Django's, or another one beside it."""
    options = connection.settings_dict["OPTIONS"]
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    given = {name: value for name, value in connection.get_connection_params().items() if name in known}
    if role := options.get("assume_role"):
        given["options"] = f"{given.get('options', '')} -c role={role}".strip()
    if database is not None:
        given["dbname"] = database
    return make_conninfo(**given)
