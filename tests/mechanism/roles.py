"""A database role for the app: the rights it needs on its own tables, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.support.database import url_of

_Connection = psycopg.Connection[Any]

APP_TABLES = (
    "users_user",
    "quests_questcategory",
    "quests_quest",
    "applications_application",
    "quests_questparticipant",
)


@contextmanager
def app_role(owner: _Connection, schema: str = "public") -> Iterator[str]:
    """Create a role that may write the app's rows and no more; it goes with everything it was granted."""
    # Roles belong to the server, which other tests are using at the same time.
    name = f"app_{uuid4().hex}"
    role = sql.Identifier(name)
    in_schema = sql.SQL("all sequences in schema {}").format(sql.Identifier(schema))
    tables = sql.SQL(", ").join(sql.Identifier(schema, table) for table in APP_TABLES)
    owner.execute(sql.SQL("create role {} login").format(role))
    owner.execute(sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(schema), role))
    owner.execute(sql.SQL("grant select, insert, update, delete on {} to {}").format(tables, role))
    owner.execute(sql.SQL("grant usage, select on {} to {}").format(in_schema, role))
    owner.commit()
    try:
        yield name
    finally:
        owner.rollback()
        owner.execute(sql.SQL("drop owned by {}").format(role))
        owner.execute(sql.SQL("drop role {}").format(role))
        owner.commit()


@contextmanager
def login(owner: _Connection, name: str) -> Iterator[_Connection]:
    """Open a session of the role."""
    session = psycopg.connect(url_of(owner), user=name)
    try:
        yield session
    finally:
        session.close()
