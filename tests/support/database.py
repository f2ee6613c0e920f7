"""More connections to the database a test was given, and more databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import psycopg
from pytest_postgresql.executors import NoopExecutor
from pytest_postgresql.janitor import DatabaseJanitor

from checks.target import Target


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
def copied(template: NoopExecutor, suffix: object) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection to a copy of a template's database, named after it, that lives as long as the block."""
    where = {"host": template.host, "port": template.port, "user": template.user}
    name = f"{template.dbname}_{suffix}"
    with (
        DatabaseJanitor(dbname=name, template_dbname=template.template_dbname, **where),
        psycopg.connect(dbname=name, **where) as connection,
    ):
        yield connection
