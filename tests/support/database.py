"""More connections to the database a test was given, and more databases."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from pytest_postgresql.executors import NoopExecutor

from checks.target import Target

_T = TypeVar("_T")

# For servers that tests run on. The C library keeps what a query frees; by default it returns it to the kernel, which
# hands it out again page by page: 91 against 65 ms for reading the guards.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_TOP_PAD_": "16777216",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
}


def url_of(connection: psycopg.Connection[Any]) -> str:
    """Return a URL of the connection's database, for another connection, another process or Django."""
    info = connection.info
    host = quote(info.host, safe="")
    return f"postgresql://{quote(info.user)}@/{quote(info.dbname, safe='')}?host={host}&port={info.port}"


def target_of(connection: psycopg.Connection[Any]) -> Target:
    """Return the connection's database as the runner's modules want it."""
    return Target(url_of(connection), "test")


@contextmanager
def another(connection: psycopg.Connection[Any], autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """Open a second session on the same database and close it at the end, rolling back what is open."""
    second = psycopg.connect(url_of(connection), autocommit=autocommit)
    try:
        yield second
    finally:
        second.close()


@contextmanager
def copied(template: NoopExecutor, suffix: object = "", source: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection to a copy of a template's database that lives as long as the block.

    Args:
        template: Where it is, and what it is named after.
        suffix: Follows the template's name.
        source: What it is a copy of, unless of the template.
    """
    name = f"{template.dbname}_{suffix}" if suffix else template.dbname
    _create(template, name, source or template.template_dbname)
    try:
        with closing(_connect(template, name)) as connection:
            yield connection
    finally:
        _drop(template, name)


# What preparing a database has returned, by its name.
_prepared: dict[str, Any] = {}


@contextmanager
def prepared(
    template: NoopExecutor, name: str, prepare: Callable[[psycopg.Connection[Any]], _T]
) -> Iterator[tuple[psycopg.Connection[Any], _T]]:
    """Yield a connection to a copy of a database that all who name it share as their template.

    Args:
        template: What the shared database is a copy of.
        name: Of the shared database, after the template's.
        prepare: What is done to it first, once in this process, and committed.

    Yields:
        The connection, and what `prepare` has returned.
    """
    shared = f"{template.dbname}_{name}"
    if shared not in _prepared:
        # Left by an attempt that failed.
        _drop(template, shared)
        _create(template, shared, template.template_dbname)
        with closing(_connect(template, shared)) as connection:
            found = prepare(connection)
            connection.commit()
        _prepared[shared] = found
    with copied(template, f"{name}_copy", shared) as connection:
        yield connection, _prepared[shared]


def copy_of(server: str) -> Callable[[pytest.FixtureRequest], Iterator[psycopg.Connection[Any]]]:
    """Return a fixture: a connection to a copy of the template that this fixture of pytest-postgresql has made."""

    @pytest.fixture
    def copy(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
        with copied(request.getfixturevalue(server)) as connection:
            yield connection

    return copy


def _create(template: NoopExecutor, name: str, source: str) -> None:
    maintenance = _maintenance(**_where(template))
    create = "create database {} template {}" + _strategy(maintenance.info.server_version)
    maintenance.execute(sql.SQL(create).format(sql.Identifier(name), sql.Identifier(source)))


def _drop(template: NoopExecutor, name: str) -> None:
    drop = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    _maintenance(**_where(template)).execute(drop)


def _connect(template: NoopExecutor, name: str) -> psycopg.Connection[Any]:
    return psycopg.connect(dbname=name, **_where(template))


def _where(template: NoopExecutor) -> dict[str, Any]:
    return {"host": template.host, "port": template.port, "user": template.user}


# pytest-postgresql's own fixture connects once more for every database it makes and for every one it drops.
@cache
def _maintenance(**where: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(dbname="postgres", autocommit=True, **where)


def _strategy(server_version: int) -> str:
    # The other one writes every page of the copy into the write-ahead log; before PostgreSQL 15 there was only this.
    return " strategy file_copy" if server_version >= 150000 else ""
