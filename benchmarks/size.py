"""Size: what an approval writes to the WAL and leaves on disk, with the layer and without, and what indexes take."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import approval
from benchmarks.harness import Bench, Connection, Ratio, Subject, main

INDEXES = """
select index.indexrelid::regclass::text, pg_relation_size(index.indexrelid), usage.idx_scan
from pg_index as index
inner join pg_stat_user_indexes as usage on index.indexrelid = usage.indexrelid
where usage.indexrelname like 'integrity%' or usage.schemaname = 'integrity'
order by 2 desc
"""

WAL = "select pg_current_wal_insert_lsn() - '0/0'"
DISK = "select pg_database_size(current_database())"


def number(connection: Connection, query: str) -> float:
    """Return the one number that a query finds."""
    row = connection.execute(query).fetchone()
    return float(row[0]) if row else 0.0


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Approve one by one, each in its own transaction, and look at what grew."""
    (approvals,) = sizes
    approval.databases(bench, 2 * approvals)
    ways = {"ours": approval.ours, "by_hand": approval.by_hand}
    with bench.connect("postgres") as connection:
        connection.execute("checkpoint")
    # The first change of a page after a checkpoint writes all of it, so the first half pays for the pages.
    for phase, first in (("right after a checkpoint", 1), ("later", approvals + 1)):
        wal: dict[str, list[float]] = {}
        disk: dict[str, list[float]] = {}
        for name, approve in ways.items():
            with bench.connect(name) as connection:
                log, size = number(connection, WAL), number(connection, DISK)
                for application in range(first, first + approvals):
                    approve(connection, application)
                wal[name] = [(number(connection, WAL) - log) / approvals]
                disk[name] = [(number(connection, DISK) - size) / approvals]
        ratio = [Ratio("ours", "by_hand")]
        bench.add(f"WAL of {approvals:,} approvals, {phase}", "bytes/approval", wal, ratio)
        bench.add(f"disk of {approvals:,} approvals, no vacuum, {phase}", "bytes/approval", disk, ratio)
    with bench.connect("ours") as connection:
        connection.execute("select pg_stat_force_next_flush()")
        bench.notes["indexes of the layer: bytes, scans"] = connection.execute(INDEXES).fetchall()


SUBJECT = Subject("size", run, sizes=(20_000,), tiny=(500,), rounds=1)

if __name__ == "__main__":
    main(SUBJECT)
