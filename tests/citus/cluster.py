"""A cluster that is given, and databases on it: each on every node, with the extension, and with nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlparse
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from checks import migrate
from checks.target import Target
from tests.support.templates import APP_TABLES

VARIABLE = "QUEST_INTEGRITY_CITUS_URL"
DISTRIBUTE = Path(__file__).resolve().parents[2] / "docs" / "citus" / "distribute.sql"
SHARDS = 8

NODES = (
    "select nodename, nodeport, groupid > 0 from pg_dist_node where isactive and noderole = 'primary' order by groupid"
)


@dataclass(frozen=True)
class Cluster:
    """A coordinator and its workers.

    Args:
        url: of a database on the coordinator that knows the workers.
        coordinator: host and port as the nodes know it.
        workers: host and port of each.
    """

    url: str
    coordinator: tuple[str, int]
    workers: tuple[tuple[str, int], ...]

    def at(self, node: tuple[str, int], name: str) -> str:
        """Return how to connect to one node's own part of a database."""
        return make_conninfo(self.url, host=node[0], port=node[1], dbname=name)

    def target(self, name: str, user: str | None = None) -> Target:
        """Return a database on the coordinator, by default for the user of the URL."""
        return Target(make_conninfo(self.url, dbname=name, user=user), "test")

    @contextmanager
    def on(self, node: tuple[str, int], name: str) -> Iterator[psycopg.Connection[Any]]:
        """Connect to one node, in autocommit mode, past Citus: its shards are ordinary tables there."""
        with psycopg.connect(self.at(node, name), autocommit=True) as connection:
            connection.execute("set citus.override_table_visibility = off")
            yield connection

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Create a database on every node, and drop it at the end; yield its name."""
        nodes = [self.coordinator, *self.workers]
        for node in nodes:
            self._everywhere(node, "drop database if exists {} with (force)", name)
            self._everywhere(node, "create database {}", name)
            with psycopg.connect(self.at(node, name), autocommit=True) as connection:
                connection.execute("set client_min_messages = error")
                connection.execute("create extension citus")
        with self.connect(name) as connection:
            connection.execute("select citus_set_coordinator_host(%s, %s)", self.coordinator)
            for worker in self.workers:
                connection.execute("select citus_add_node(%s, %s)", worker)
            alter = "alter database {} set citus.shard_count = " + str(SHARDS)
            connection.execute(sql.SQL(alter).format(sql.Identifier(name)))
        try:
            yield name
        finally:
            for node in reversed(nodes):
                self._everywhere(node, "drop database if exists {} with (force)", name)

    @contextmanager
    def attached(self, name: str) -> Iterator[str]:
        """Create a database whose tables are distributed, then attached, and drop it at the end."""
        with self.database(name):
            self.create_app_tables(name)
            self.distribute(name)
            migrate.upgrade(self.target(name))
            yield name

    def connect(self, name: str, user: str | None = None) -> psycopg.Connection[Any]:
        """Connect to a database through the coordinator, in autocommit mode."""
        return self.target(name, user).connect(autocommit=True)

    def create_app_tables(self, name: str) -> None:
        """Create the app's tables, on the coordinator only."""
        with self.connect(name) as connection:
            connection.execute("set client_min_messages = error")
            connection.execute(APP_TABLES.read_text())

    def distribute(self, name: str, user: str | None = None) -> None:
        """Run the script of docs/citus.md, by default as the user of the URL."""
        with self.connect(name, user) as connection:
            connection.execute("set client_min_messages = error")
            for statement in sqlparse.split(DISTRIBUTE.read_text()):
                connection.execute(statement.encode())

    def _everywhere(self, node: tuple[str, int], statement: str, name: str) -> None:
        maintenance = str(conninfo_to_dict(self.url).get("dbname", "postgres"))
        with psycopg.connect(self.at(node, maintenance), autocommit=True) as connection:
            connection.execute("set client_min_messages = error")
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def given(url: str) -> Cluster:
    """Return the cluster whose coordinator has this URL.

    Raises:
        pytest.UsageError: it has no Citus, or fewer than two workers.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        known = connection.execute("select to_regclass('pg_catalog.pg_dist_node') is not null").fetchone()
        nodes = connection.execute(NODES).fetchall() if known == (True,) else []
        coordinator = connection.info.host, connection.info.port
    workers = tuple((host, port) for host, port, is_worker in nodes if is_worker)
    if len(workers) < 2:
        raise pytest.UsageError(f"{VARIABLE} has to name a coordinator with at least two workers, not {len(workers)}")
    return Cluster(url, coordinator, workers)
