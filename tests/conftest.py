"""One throw-away PostgreSQL for the whole run, and a database of its own for every test.

These fixtures are psycopg connections to a fresh copy of a template that is made once per session (per worker under
xdist). More sessions: ``tests.support.database``.

| fixture | what is in it |
|---|---|
| ``empty`` | nothing |
| ``migrated`` | the tables and the layer as the migrations make them from nothing |
| ``app_only`` | Django's tables, no layer |
| ``unattached`` | Django's tables and the rules, not the law, so that violations can be planted |
| ``sync_001``, ``audit_001`` | the incident's two states, adopted |
| ``dirty`` | every rule broken, adopted |
| ``rules`` | as ``unattached``, but shared: the test's transaction is rolled back |
"""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from checks import migrate, server
from checks.engine import server_version
from tests import quick
from tests.support import mutation, plant, templates
from tests.support.database import KEEP_MEMORY, copied, copy_of

_Connection = psycopg.Connection[Any]

SERVER_VARIABLE = "QUEST_INTEGRITY_TEST_SERVER"

_server = pytest.StashKey[ExitStack]()

# What every run can afford; `make slow` loads the other one.
settings.register_profile("slice", max_examples=8)
settings.register_profile("long", max_examples=150)
settings.load_profile("slice")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores it, and so would every command that a test interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        # The user's own settings must not lead a test to the user's own database.
        for name in [name for name in os.environ if name.startswith("PG") and name != "PG_BINDIR"]:
            del os.environ[name]
        os.environ.pop("DATABASE_URL", None)
        # Who names a mutation also keeps a server, and names it.
        if mutation.VARIABLE not in os.environ:
            _start_server(config)
    if mutation.VARIABLE in os.environ:
        mutation.meet()
    host, port = os.environ[SERVER_VARIABLE].rsplit(":", 1)
    config.option.postgresql_host = host
    config.option.postgresql_port = port


def _start_server(config: pytest.Config) -> None:
    stack = ExitStack()
    running = stack.enter_context(server.throwaway(environment=KEEP_MEMORY))
    config.stash[_server] = stack
    _require_version(running)
    keep_roles(running)
    # Workers are started later and inherit the environment; changes to options do not reach them.
    os.environ[SERVER_VARIABLE] = f"{running.sockets}:{running.port}"


def pytest_unconfigure(config: pytest.Config) -> None:
    if (stack := config.stash.get(_server, None)) is not None:
        stack.close()


def _require_version(running: server.Server) -> None:
    expected = server_version(running.binaries)
    with psycopg.connect(running.url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    if row is None or row[0].split()[0] != expected:
        raise pytest.UsageError(f"the server says it is {row}, its program says {expected}")


def keep_roles(running: server.Server) -> None:
    """Create the layer's roles and keep them in use.

    They belong to the server, and a downgrade drops those that no database needs: one test must not take them away from
    another that is just upgrading. What happens without them is for tests/roles, which have a server of their own.
    """
    with psycopg.connect(running.url) as connection:
        for role in ("integrity_reader", "integrity_operator", "integrity_owner"):
            connection.execute(f"create role {role} nologin".encode())
            connection.execute(f"grant connect on database postgres to {role}".encode())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    chosen = set(quick.TESTS.values())
    for item in items:
        if item.nodeid in chosen:
            item.add_marker(pytest.mark.quick)


def pytest_collection_finish() -> None:
    # Thousands of items and every module live to the end: looking through them for garbage takes a tenth of the time.
    gc.freeze()


def _load_migrated(**where: Any) -> None:
    migrate.upgrade(templates.target_of_template(**where))


empty_server = factories.postgresql_noproc(dbname="empty")
migrated_server = factories.postgresql_noproc(dbname="migrated", load=[_load_migrated])
app_only_server = factories.postgresql_noproc(dbname="app_only", load=[templates.app_tables(revision=None)])
unattached_server = factories.postgresql_noproc(
    dbname="unattached", load=[templates.app_tables(revision=templates.RULES_ONLY)]
)
sync_001_server = factories.postgresql_noproc(dbname="sync_001", load=[templates.app_tables(templates.sync_001)])
audit_001_server = factories.postgresql_noproc(dbname="audit_001", load=[templates.app_tables(templates.audit_001)])
dirty_server = factories.postgresql_noproc(dbname="everything_broken", load=[templates.app_tables(plant.everything)])

empty = copy_of("empty_server")
migrated = copy_of("migrated_server")
app_only = copy_of("app_only_server")
unattached = copy_of("unattached_server")
sync_001 = copy_of("sync_001_server")
audit_001 = copy_of("audit_001_server")
dirty = copy_of("dirty_server")


@pytest.fixture(scope="session")
def shared_unattached(unattached_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield the one connection to a copy that is never written for good."""
    with copied(unattached_server, "shared") as connection:
        yield connection


@pytest.fixture
def rules(shared_unattached: _Connection) -> Iterator[_Connection]:
    """Yield a connection whose transaction is rolled back after the test: creating a database costs more."""
    yield shared_unattached
    shared_unattached.rollback()
    row = shared_unattached.execute("select exists (select from users_user)").fetchone()
    shared_unattached.rollback()
    assert row == (False,), "this test commits: it needs a database of its own, unattached"
