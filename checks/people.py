"""Who and what people call by name: usernames and quests' titles, looked up for a batch of rows at a time."""

import json
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from checks import query
from checks.render import UUID
from checks.violations import app_schema

# A title is no column that the layer needs, and not everybody who may audit may read it.
READABLE_TITLE = """
select exists (
  select
  from pg_catalog.pg_attribute
  where
    attrelid = %(relation)s::regclass
    and attname = 'title'
    and not attisdropped
    and has_column_privilege(attrelid, attnum, 'select')
)
"""


class People:
    """The names of what the rows at hand mention; those of the rows before are forgotten.

    Args:
        connection: None knows nobody.
    """

    def __init__(self, connection: psycopg.Connection[Any] | None = None) -> None:
        """Start without names."""
        self._connection = connection
        self._schema: str | None = None
        self._has_titles = False
        self.names: dict[str, str] = {}
        self.titles: dict[int, str] = {}

    def learn(self, mentioning: Iterable[object], quests: Iterable[int | None] = ()) -> None:
        """Look up users and quests, a query each.

        Args:
            mentioning: texts, or what JSON can say, with the ids of users somewhere in it.
            quests: ids of quests.
        """
        self.names, self.titles = {}, {}
        ids = {found for each in mentioning for found in UUID.findall(json.dumps(each, default=str))}
        numbers = {quest for quest in quests if quest is not None}
        if self._connection is None or not (ids or numbers):
            return
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            users, titled = self._tables(self._connection)
            named = sql.SQL("select id::text, username::text from {} where id = any(%s::uuid[])").format(users)
            self.names = dict(cursor.execute(named, [list(ids)]).fetchall()) if ids else {}
            shown = sql.SQL("select id, title::text from {} where id = any(%s)").format(titled)
            self.titles = (
                dict(cursor.execute(shown, [list(numbers)]).fetchall()) if numbers and self._has_titles else {}
            )

    def name(self, user: object) -> str:
        """Return a user's name; the id where it is unknown, nothing for None."""
        return "" if user is None else self.names.get(str(user), str(user))

    def person(self, user: object) -> str:
        """Return a user's name with the id beside it."""
        name = self.name(user)
        return name if user is None or name == str(user) else f"{name} ({user})"

    def _tables(self, connection: psycopg.Connection[Any]) -> tuple[sql.Composable, sql.Composable]:
        if self._schema is None:
            self._schema = app_schema(connection)
            relation = sql.Identifier(self._schema, "quests_quest").as_string(connection)
            self._has_titles = query.value(connection, READABLE_TITLE, {"relation": relation})
        return sql.Identifier(self._schema, "users_user"), sql.Identifier(self._schema, "quests_quest")
