"""The migrations in their order, and whole tables as they are, for tests that stop in between."""

from typing import Any

import psycopg
from alembic.script import ScriptDirectory
from psycopg import sql

from checks import migrate

APP_TABLES = (
    "users_user",
    "quests_questcategory",
    "quests_quest",
    "applications_application",
    "quests_questparticipant",
)
MARKERS = {
    "applications_application": ("integrity_approved", "status = 'approved'"),
    "quests_quest": ("integrity_assigned", "assigned_to_id is not null"),
    "quests_questparticipant": ("integrity_active", "status <> 'dropped'"),
}


def scripts() -> ScriptDirectory:
    """Return Alembic's view of migrations/."""
    return ScriptDirectory.from_config(migrate.config(None))


def app_rows(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Read every row of every table in the app's schema, without the layer's marker columns."""
    tables = connection.execute(
        "select relname from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace"
        " where relkind = 'r' and nspname = current_schema()"
    ).fetchall()
    found = {}
    for (table,) in tables:
        markers = [MARKERS[table][0]] if table in MARKERS else []
        rows = connection.execute(
            sql.SQL("select to_jsonb(each) - %s::text[] from {} as each order by 1").format(sql.Identifier(table)),
            [markers],
        )
        found[table] = [str(row) for (row,) in rows]
    return found


def wrong_markers(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Count the rows whose marker is not what its definition says."""
    found = {}
    for table, (marker, definition) in MARKERS.items():
        row = connection.execute(
            sql.SQL("select count(*) from {} where {} is distinct from nullif(" + definition + ", false)").format(
                sql.Identifier(table), sql.Identifier(marker)
            )
        ).fetchone()
        if row != (0,):
            found[table] = row[0]  # type: ignore[index]
    return found
