"""A PostgreSQL of its own, because roles belong to the whole cluster, with an owner of the app's tables and the app."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from checks import migrate, server
from checks.target import Target
from tests.support.templates import APP_TABLES

Connection = psycopg.Connection[Any]

OWNER, APP, DBA = "peerquest_owner", "peerquest_app", "postgres"
ROLES = ("integrity_reader", "integrity_operator", "integrity_owner")
# The last revision that knows of no role.
BEFORE_ROLES = "0010_repair"

# Another team's table, which refers to participants.
BADGES = f"""
create schema rewards authorization {OWNER};
create table rewards.badge (
  id bigint generated always as identity primary key,
  participant_id bigint references public.quests_questparticipant (id)
);
alter table rewards.badge owner to {OWNER};
"""


@dataclass
class Database:
    """One database of the cluster, whose app tables belong to `OWNER` and are written by `APP`."""

    running: server.Server
    name: str
    schema: str = "public"

    def target(self, user: str = OWNER) -> Target:
        conninfo = make_conninfo(host=str(self.running.sockets), port=self.running.port, dbname=self.name, user=user)
        return Target(conninfo, f"test, as {user}")

    def connect(self, user: str) -> Connection:
        connection = self.target(user).connect(autocommit=True)
        connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(self.schema)))
        return connection

    def url(self, user: str) -> str:
        return str(make_conninfo(self.target(user).conninfo))

    @contextmanager
    def session(self, user: str) -> Iterator[Connection]:
        connection = self.connect(user)
        try:
            yield connection
        finally:
            connection.close()

    def run(self, user: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one statement as a role; return its rows, if it has any."""
        with self.session(user) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def adopt(self) -> None:
        """Create the app's tables as a live database has them, owned by `OWNER`."""
        with self.session(OWNER) as connection:
            connection.execute(APP_TABLES.read_text().encode())

    def upgrade(self, user: str = OWNER, revision: str = "head") -> None:
        options = [] if self.schema == "public" else [f"app-schema={self.schema}"]
        migrate.upgrade(self.target(user), revision, options)

    def downgrade(self, user: str = OWNER, revision: str = "base") -> None:
        migrate.downgrade(self.target(user), revision, ["drop-app-tables=true", "drop-records=true"])

    def admit_app(self) -> None:
        """Give `APP` what an app needs on its own tables, nothing else."""
        schema = sql.Identifier(self.schema)
        with self.session(OWNER) as connection:
            for grant in (
                "grant usage on schema {} to {}",
                "grant select, insert, update, delete on all tables in schema {} to {}",
                "grant usage on all sequences in schema {} to {}",
            ):
                connection.execute(sql.SQL(grant).format(schema, sql.Identifier(APP)))

    def owners(self) -> set[str]:
        """Return who owns the layer's objects, its schema included."""
        found = self.run(
            DBA,
            "select relowner::regrole::text from pg_class where relnamespace = 'integrity'::regnamespace "
            "union select proowner::regrole::text from pg_proc where pronamespace = 'integrity'::regnamespace "
            "union select nspowner::regrole::text from pg_namespace where nspname = 'integrity'",
        )
        return {owner for (owner,) in found}


@dataclass
class Cluster:
    """The server, and what a test made in it."""

    running: server.Server
    databases: list[Database] = field(default_factory=list)

    def admit(self) -> None:
        """Create `OWNER`, who owns the app's tables, and `APP`, who writes them."""
        for role in (OWNER, APP):
            self.run(f"create role {role} login")

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser, in no database in particular."""
        return Database(self.running, "postgres").run(DBA, statement)

    def roles(self) -> set[str]:
        """Return those of the layer's roles that exist."""
        found = {name for (name,) in self.run("select rolname from pg_roles where rolname like 'integrity%'")}
        assert found <= set(ROLES)
        return found

    def database(self, name: str = "peerquest", schema: str = "public", owner: str = OWNER) -> Database:
        """Create a database for `owner`, with a schema in which `OWNER` may create the app's tables."""
        self.run(f"create database {name} owner {owner}")
        database = Database(self.running, name, schema)
        self.databases.append(database)
        with Database(self.running, name).session(DBA) as connection:
            if schema != "public":
                connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
                connection.execute(
                    sql.SQL("alter schema {} owner to {}").format(sql.Identifier(schema), sql.Identifier(owner))
                )
            # As PostgreSQL 15 and later have it.
            connection.execute("revoke create on schema public from public")
            connection.execute(
                sql.SQL("grant usage, create on schema {} to {}").format(sql.Identifier(schema), sql.Identifier(OWNER))
            )
        return database

    def drop(self, database: Database) -> None:
        """Drop a database of the test."""
        self.run(f"drop database if exists {database.name} with (force)")
        self.databases.remove(database)

    def copy(self, template: str, name: str, fill: Callable[[Database], None]) -> Database:
        """Create a database as a copy of a template, which is filled by the first call and outlives the test.

        Args:
            template: The name of the template.
            name: The name of the copy.
            fill: Fills a database that has nothing but the schema.
        """
        if not self.run(f"select 1 from pg_database where datname = '{template}'"):
            unfinished = self.database("unfinished")
            fill(unfinished)
            self.run(f"alter database {unfinished.name} rename to {template}")
            self.databases.remove(unfinished)
        self.run(f"create database {name} template {template} owner {OWNER}")
        made = Database(self.running, name)
        self.databases.append(made)
        return made

    def begun(self, adopted: bool, name: str = "peerquest", revision: str = BEFORE_ROLES) -> Database:
        """Create a database that `OWNER`, who may create no roles, has migrated to a revision.

        No role of the layer has a part in it, nor in its template: each test has the roles that it makes.

        Args:
            adopted: Whether it had the tables of a live app before, or none.
            name: Its name.
            revision: The revision.
        """

        def fill(database: Database) -> None:
            assert self.roles() == set()
            if adopted:
                database.adopt()
            database.upgrade(revision=revision)

        return self.copy(f"{'adopted' if adopted else 'empty'}_{revision}", name, fill)

    def clean(self) -> None:
        """Drop every database and role of the test, but `OWNER` and `APP`, who then are no more than at first."""
        for database in [*self.databases]:
            self.drop(database)
        rest = (
            "select rolname from pg_roles where rolname not like 'pg\\_%' "
            f"and rolname not in ('{DBA}', '{OWNER}', '{APP}')"
        )
        for (name,) in self.run(rest):
            self.run(f"drop owned by {name}")
            self.run(f"drop role {name}")
        self.run(f"alter role {OWNER} nocreaterole")
