"""One throw-away PostgreSQL for the whole run, and a database of its own for every test.

``empty``, ``migrated`` and ``app_only`` are psycopg connections to a fresh copy of a template that is made
once per session (per worker under xdist). More sessions: ``tests.support.database``.
"""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import migrate, server
from checks.target import Target
from tests.support import mutation

SERVER_VARIABLE = "QUEST_INTEGRITY_TEST_SERVER"
APP_TABLES = Path(__file__).parent / "support" / "app_tables.sql"

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
    running = stack.enter_context(server.throwaway())
    config.stash[_server] = stack
    _require_version(running)
    keep_roles(running)
    # Workers are started later and inherit the environment; changes to options do not reach them.
    os.environ[SERVER_VARIABLE] = f"{running.sockets}:{running.port}"


def pytest_unconfigure(config: pytest.Config) -> None:
    if (stack := config.stash.get(_server, None)) is not None:
        stack.close()


def _require_version(running: server.Server) -> None:
    expected = server.server_version(running.binaries)
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


def _load_migrated(**where: Any) -> None:
    migrate.upgrade(_target(**where))


def _load_app_tables(**where: Any) -> None:
    with _target(**where).connect() as connection:
        connection.execute(APP_TABLES.read_text())


def _target(*, autocommit: bool, **where: Any) -> Target:
    return Target(make_conninfo(**where), "test template")


empty_server = factories.postgresql_noproc(dbname="empty")
migrated_server = factories.postgresql_noproc(dbname="migrated", load=[_load_migrated])
app_only_server = factories.postgresql_noproc(dbname="app_only", load=[_load_app_tables])

empty = factories.postgresql("empty_server")
migrated = factories.postgresql("migrated_server")
app_only = factories.postgresql("app_only_server")
