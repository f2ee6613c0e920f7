"""Citus: the app's tables spread over the nodes of a cluster, every row on the node of its quest."""

from typing import Any

import psycopg
from psycopg import sql

_KNOWS_DISTRIBUTION = "select to_regclass('pg_catalog.pg_dist_partition') is not null"
_IS_DISTRIBUTED = """
select exists (
  select
  from pg_catalog.pg_dist_partition
  where logicalrelid = to_regclass({}) and partmethod = 'h'
)
"""


def is_distributed(connection: psycopg.Connection[Any], schema: str) -> bool:
    """Return whether the app's quests, in the given schema, are distributed over the nodes of a cluster."""
    if connection.execute(_KNOWS_DISTRIBUTION).fetchone() != (True,):
        return False
    name = sql.Identifier(schema, "quests_quest").as_string(connection)
    return connection.execute(sql.SQL(_IS_DISTRIBUTED).format(name)).fetchone() == (True,)
