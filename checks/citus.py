"""Citus: the app's tables spread over the nodes of a cluster, every row on the node of its quest."""

from typing import Any

import psycopg
from psycopg import sql

# Triggers on distributed tables have to be allowed, and the layer needs one connection to each node, not several.
_PREPARE = """
select
  set_config('citus.enable_unsafe_triggers', 'on', false),
  set_config('citus.multi_shard_modify_mode', 'sequential', false)
from pg_catalog.pg_extension
where extname = 'citus'
"""
_KNOWS_DISTRIBUTION = "select to_regclass('pg_catalog.pg_dist_partition') is not null"
_IS_DISTRIBUTED = """
select exists (
  select
  from pg_catalog.pg_dist_partition
  where logicalrelid = to_regclass({}) and partmethod = 'h'
)
"""


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Set for this session what the layer needs of Citus, where that is installed; the connection is in autocommit."""
    connection.execute(_PREPARE)


def is_present(connection: psycopg.Connection[Any]) -> bool:
    """Return whether the database has the extension."""
    return connection.execute(_KNOWS_DISTRIBUTION).fetchone() == (True,)


def is_distributed(connection: psycopg.Connection[Any], schema: str) -> bool:
    """Return whether the app's quests, in the given schema, are distributed over the nodes of a cluster."""
    if not is_present(connection):
        return False
    name = sql.Identifier(schema, "quests_quest").as_string(connection)
    return connection.execute(sql.SQL(_IS_DISTRIBUTED).format(name)).fetchone() == (True,)
