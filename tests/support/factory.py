"""Rows of the app's tables with a sensible value in every column that needs one.

Everything goes into the connection's open transaction; columns are given by keyword, the new id is returned.
"""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

_Connection = psycopg.Connection[Any]
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
_numbers = count(1)


def user(connection: _Connection, **columns: Any) -> UUID:
    """Insert a user with a random id and a username of its own."""
    name = columns.get("username", f"user{next(_numbers)}")
    defaults = {
        "id": uuid4(),
        "password": "!",
        "is_superuser": False,
        "username": name,
        "first_name": "",
        "last_name": "",
        "is_staff": False,
        "is_active": True,
        "date_joined": _EPOCH,
        "email": f"{name}@example.test",
    }
    row_id: UUID = insert(connection, "users_user", defaults | columns)
    return row_id


def category(connection: _Connection, **columns: Any) -> int:
    """Insert a quest category."""
    defaults = {"name": f"category {next(_numbers)}", "created_at": _EPOCH}
    row_id: int = insert(connection, "quests_questcategory", defaults | columns)
    return row_id


def quest(connection: _Connection, **columns: Any) -> int:
    """Insert an open quest; without ``creator_id`` or ``category_id`` it gets new ones."""
    number = next(_numbers)
    if "creator_id" not in columns:
        columns["creator_id"] = user(connection)
    if "category_id" not in columns:
        columns["category_id"] = category(connection)
    defaults = {
        "title": f"Quest {number}",
        "description": "",
        "difficulty": "easy",
        "status": "open",
        "xp_reward": 10,
        "gold_reward": 5,
        "commission_fee": 0,
        "created_at": _EPOCH,
        "updated_at": _EPOCH,
        "requirements": "",
        "resources": "",
        "slug": f"quest-{number}",
        "is_deleted": False,
    }
    row_id: int = insert(connection, "quests_quest", defaults | columns)
    return row_id


def application(connection: _Connection, quest_id: int, applicant_id: UUID, **columns: Any) -> int:
    """Insert a pending application; later ones have a later ``applied_at``."""
    defaults = {
        "status": "pending",
        "applied_at": _later(),
        "quest_id": quest_id,
        "applicant_id": applicant_id,
    }
    row_id: int = insert(connection, "applications_application", defaults | columns)
    return row_id


def participant(connection: _Connection, quest_id: int, user_id: UUID, **columns: Any) -> int:
    """Insert a joined participant; later ones have a later ``joined_at``."""
    defaults = {
        "status": "joined",
        "joined_at": _later(),
        "progress_notes": "",
        "quest_id": quest_id,
        "user_id": user_id,
    }
    row_id: int = insert(connection, "quests_questparticipant", defaults | columns)
    return row_id


def insert(connection: _Connection, table: str, columns: dict[str, Any]) -> Any:
    """Insert a row of exactly these columns and return its id."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
    )
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        row = cursor.execute(statement, list(columns.values())).fetchone()
    assert row is not None
    return row[0]


def _later() -> datetime:
    return _EPOCH + timedelta(minutes=next(_numbers))
