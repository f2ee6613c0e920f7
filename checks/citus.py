"""Citus: the app's tables spread over the nodes of a cluster, every row on the node of its quest."""

from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import psycopg

from checks import query

# Triggers on distributed tables have to be allowed, and the layer needs one connection to each node, not several.
_PREPARE = "set citus.enable_unsafe_triggers = on; set citus.multi_shard_modify_mode = sequential"
_IS_PRESENT = "select to_regclass('pg_catalog.pg_dist_partition') is not null"
_IS_DISTRIBUTED = """
select exists (
  select
  from pg_catalog.pg_dist_partition
  where logicalrelid = to_regclass(format('%%I.quests_quest', %s::text)) and partmethod = 'h'
)
"""


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Set for this session what the layer needs of Citus, where that is installed; the connection is in autocommit."""
    if is_present(connection):
        connection.execute(_PREPARE)


@lru_cache(maxsize=1)
def is_present(connection: psycopg.Connection[Any]) -> bool:
    """Return whether the database has the extension; the last connection that was asked is not asked again."""
    return bool(query.value(connection, _IS_PRESENT))


def is_distributed(connection: psycopg.Connection[Any], schema: str) -> bool:
    """Return whether the app's quests, in the given schema, are distributed over the nodes of a cluster."""
    return is_present(connection) and bool(query.value(connection, _IS_DISTRIBUTED, [schema]))


def execute(connection: psycopg.Connection[Any], script: str) -> None:
    """Run the statements of a script, in one transaction. Citus forwards the text of some, and takes one at a time."""
    single = [script]
    if is_present(connection):
        import sqlparse

        single = sqlparse.split(script)
    # One alone may be of those that cannot run in a transaction.
    with connection.transaction() if connection.autocommit and len(single) > 1 else nullcontext():
        for statement in single:
            connection.execute(statement.encode())
