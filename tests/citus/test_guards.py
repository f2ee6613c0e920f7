"""What somebody did to one node, past the coordinator, is damage, and mended."""

from typing import Any

import psycopg
import pytest

from checks import ddl, guards
from tests.citus.cluster import Cluster

SHARD = """
select fired.tgrelid::regclass::text
from pg_trigger as fired
where fired.tgname like 'integrity\\_mark\\_%' and fired.tgrelid::regclass::text like '%quests\\_quest\\_%'
limit 1
"""


def _damage(connection: psycopg.Connection[Any]) -> list[str]:
    return [f"{guard.kind} {guard.identity}: {guard.status}" for guard in guards.damaged(connection)]


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        ("alter table {shard} disable trigger integrity_mark_{number}", "trigger", "integrity_mark"),
        ("drop trigger integrity_mark_{number} on {shard}", "trigger", "integrity_mark"),
        (
            "alter table {shard} drop constraint integrity_quest_marker_{number}",
            "constraint",
            "integrity_quest_marker",
        ),
        (
            "create or replace function integrity.mark_quest() returns trigger language plpgsql "
            "set search_path = pg_catalog, pg_temp as 'begin return new; end'",
            "function",
            "integrity.mark_quest()",
        ),
    ],
)
def test_a_change_of_one_node_is_seen_and_mended(
    cluster: Cluster, attached: str, shared: psycopg.Connection[Any], change: str, kind: str, name: str
) -> None:
    assert _damage(shared) == []
    with cluster.on(cluster.workers[0], attached) as worker:
        # Citus guards its shards against everybody but itself.
        worker.execute("set citus.enable_manual_changes_to_shards = on")
        worker.execute("set citus.enable_ddl_propagation = off")
        (shard,) = worker.execute(SHARD).fetchone() or ("",)
        worker.execute(change.format(shard=shard, number=shard.rpartition("_")[2]).encode())

    assert [line.startswith(f"{kind} {name}") for line in _damage(shared)] == [True]
    guards.mend(shared, ddl.LockPolicy())
    assert _damage(shared) == []


def test_a_probe_approves_on_a_node(shared: psycopg.Connection[Any]) -> None:
    assert guards.probe(shared, None) is None
