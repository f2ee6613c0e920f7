"""A mutated layer for the ordinary tests: SQL that is run on every database they migrate.

`make mutants` (tests/mutants) sets the two variables; nobody else does.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import errors, sql

from checks import guards, migrate
from checks.target import Target

# Names a file of SQL that weakens the layer in one place, to see whether a test notices.
VARIABLE = "QUEST_INTEGRITY_TEST_MUTATION"

# A migrated database on the same server, to be copied.
BASE = "mutants_base"
# With nothing else on the path, a mutation names every object with its schema.
SETTINGS = "set local search_path = pg_catalog, pg_temp; set local client_min_messages = error"
THIS = "from pg_database where datname = current_database()"
USED = "select from pg_class where oid >= 16384 and relkind = 'r'"

# What a database without the object says: one of another schema, or one that is migrated only in part.
NOT_THERE = (
    errors.UndefinedTable,
    errors.UndefinedObject,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
)
# What rows that were broken before say: this constraint cannot be had, not even weaker.
NOT_WITH_THESE_ROWS = (errors.IntegrityError,)


def meet() -> None:
    """Let every migration of this process end with the mutation, and the guards keep quiet about it."""
    mutation = Path(os.environ[VARIABLE]).read_text()
    upgrade = migrate.upgrade

    def upgrade_and_mutate(target: Target, revision: str = "head", x: Sequence[str] = ()) -> None:
        if revision != "head" or x or not _copied(target):
            upgrade(target, revision, x)
        apply(target, mutation)

    migrate.upgrade = upgrade_and_mutate
    silence_guards()


def silence_guards() -> None:
    """Let the guards of this process find nothing.

    They would notice every mutant, and every test of a command that asks them first would fail for that alone.
    """
    guards.read = lambda connection: []


def _copied(target: Target) -> bool:
    """Make an empty database a copy of `BASE`, faster than to migrate it; return whether it was empty."""
    with target.connect(autocommit=True) as connection:
        row = connection.execute(f"select exists ({USED}), datistemplate {THIS}").fetchone()
        name = connection.info.dbname
    assert row is not None
    if row[0]:
        return False
    with psycopg.connect(target.conninfo, dbname="postgres", autocommit=True) as connection:
        for statement in (
            "alter database {0} is_template false",
            "drop database {0} with (force)",
            "create database {0} template {1} is_template {2}",
        ):
            connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(BASE), row[1]))
    return True


def apply(target: Target, mutation: str) -> bool:
    """Run the mutation where its object is; return whether it was run."""
    with target.connect(autocommit=True) as connection:
        try:
            with connection.transaction():
                connection.execute(SETTINGS)
                connection.execute(mutation.encode())
        except (*NOT_THERE, *NOT_WITH_THESE_ROWS):
            return False
    return True
