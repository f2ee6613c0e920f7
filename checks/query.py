"""The answers of a query, whatever the rows of the connection are: objects of a class, or one value."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row

Row = TypeVar("Row")
Query = str | bytes | sql.SQL | sql.Composed
Parameters = Sequence[Any] | Mapping[str, Any] | None


def rows(connection: psycopg.Connection[Any], of: type[Row], query: Query, parameters: Parameters = None) -> list[Row]:
    """Return all rows, each as an object of a class whose fields are the columns."""
    with connection.cursor(row_factory=class_row(of)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def value(connection: psycopg.Connection[Any], query: Query, parameters: Parameters = None) -> Any:
    """Return the first column of the first row, None when there is no row."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query, parameters).fetchone()
