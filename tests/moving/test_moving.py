"""To a newer major: dump and restore, pg_upgrade, and a logical replica that is promoted lose nothing.

`make moving` runs it; the engines are those of tests/matrix.py. docs/operations.md has the same commands.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from checks import server
from tests import matrix
from tests.mechanism.state import admit
from tests.mechanism.test_dump_restore import live
from tests.moving.clusters import (
    BROKEN,
    DATABASES,
    WHOLE,
    Connection,
    State,
    folder,
    furnish,
    initialise,
    run,
    session,
    started,
    state,
    temporary,
    url_of,
)
from tests.support import factory
from tests.support.cli import run_at

pytestmark = pytest.mark.slow
SECONDS = 120

Moved = tuple[dict[str, State], server.Server]
Road = Callable[[str, str], AbstractContextManager[Moved]]

# A table needs a worker for its first copy, and a slot and a sender on the other side.
PUBLISHING = {
    "wal_level": "logical",
    "synchronous_commit": "on",
    "max_wal_senders": "30",
    "max_replication_slots": "30",
}
SUBSCRIBING = {
    "max_worker_processes": "40",
    "max_replication_slots": "30",
    "max_logical_replication_workers": "30",
    "max_sync_workers_per_subscription": "8",
}
COPYING = "select srrelid::regclass::text from pg_subscription_rel where srsubstate <> 'r'"
# The slot is there while the worker that reads it starts anew, too.
BEHIND = "select confirmed_flush_lsn from pg_replication_slots where slot_name = %s and confirmed_flush_lsn < %s"
# Logical replication leaves sequences behind.
SEQUENCES = """
select format('select setval(%L, %s);', format('%I.%I', schemaname, sequencename), last_value)
from pg_sequences
where last_value is not null
"""


def before(source: server.Server) -> dict[str, State]:
    return {database: state(source, database) for database in DATABASES}


def copy_roles(source: server.Server, target: server.Server) -> None:
    """Copy the roles; of those that are there already psql complains, and goes on."""
    said = run(target.binaries / "pg_dumpall", "--roles-only", "-d", url_of(source, "postgres"))
    run(target.binaries / "psql", "-X", "-q", "-d", url_of(target, "postgres"), stdin=said)


def wait_until_none(connection: Connection, query: str, *values: object) -> None:
    deadline = time.monotonic() + SECONDS
    while found := connection.execute(query.encode(), values or None).fetchall():
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def copy_schema(source: server.Server, target: server.Server, database: str, section: str) -> None:
    dump = ("--schema-only", f"--section={section}", "-d", url_of(source, database))
    psql = ("-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", url_of(target, database))
    run(target.binaries / "psql", *psql, stdin=run(target.binaries / "pg_dump", *dump))


@contextmanager
def dumped_and_restored(old: str, new: str) -> Iterator[Moved]:
    with temporary(matrix.installed(old)) as source, temporary(matrix.installed(new)) as target, folder() as place:
        furnish(source)
        copy_roles(source, target)
        for database in DATABASES:
            dump = place / database
            run(target.binaries / "pg_dump", "--format=custom", f"--file={dump}", "-d", url_of(source, database))
            to = ("--create", "--exit-on-error", "-d", url_of(target, "postgres"))
            run(target.binaries / "pg_restore", *to, dump)
        yield before(source), target


@contextmanager
def upgraded_in_place(old: str, new: str) -> Iterator[Moved]:
    with folder() as place:
        source = initialise(matrix.installed(old), place / "old")
        # Both have to agree on checksums, which are on since 18 unless said otherwise.
        target = initialise(matrix.installed(new), place / "new", *(["--no-data-checksums"] if new >= "18" else []))
        with started(source):
            furnish(source)
            was = before(source)
        clusters = ("-b", source.binaries, "-B", target.binaries, "-d", source.data, "-D", target.data)
        run(target.binaries / "pg_upgrade", *clusters, "-U", "postgres", "-s", place, "-j", "2", cwd=place)
        with started(target):
            yield was, target


@contextmanager
def replicated_and_promoted(old: str, new: str) -> Iterator[Moved]:
    publisher, subscriber = matrix.installed(old), matrix.installed(new)
    with temporary(publisher, **PUBLISHING) as source, temporary(subscriber, **SUBSCRIBING) as target:
        furnish(source)
        copy_roles(source, target)
        for database in DATABASES:
            with session(target) as connection:
                connection.execute(f"create database {database}".encode())
            copy_schema(source, target, database, "pre-data")
            with session(source, database) as publishing, session(target, database) as subscribing:
                publishing.execute("create publication move for all tables")
                subscribing.execute(
                    f"create subscription move_{database} connection '{url_of(source, database)}'"
                    " publication move".encode()
                )
                wait_until_none(subscribing, COPYING)
                # A CHECK constraint that old rows break would keep them out.
                copy_schema(source, target, database, "post-data")
                # What is written meanwhile comes along, too.
                publishing.autocommit = False
                live(publishing)
                publishing.autocommit = True
                (written,) = publishing.execute("select pg_current_wal_lsn()").fetchone() or (None,)
                wait_until_none(publishing, BEHIND, f"move_{database}", written)
                subscribing.execute(f"drop subscription move_{database}".encode())
                sequences = publishing.execute(SEQUENCES).fetchall()
                for (statement,) in sequences:
                    subscribing.execute(statement.encode())
        yield before(source), target


@pytest.mark.parametrize("road", [dumped_and_restored, upgraded_in_place, replicated_and_promoted])
@pytest.mark.parametrize(("old", "new"), [("14", "18"), ("15", "17")])
def test_nothing_is_lost(old: str, new: str, road: Road) -> None:
    with road(old, new) as (was, target):
        with session(target) as connection:
            assert connection.info.server_version // 10000 == int(new)
        for database in DATABASES:
            found = state(target, database)
            assert [guard for guard in found.guards if guard.damage] == []
            assert found == was[database]
            assert len(found.rows["integrity.event_default"]) == 0
        assert (was[WHOLE].guards, [found for found in was[WHOLE].violations if "severity='error'" in found]) == (
            [],
            [],
        )
        assert len([found for found in was[BROKEN].violations if "severity='error'" in found]) == 10
        goes_on(target)


def goes_on(cluster: server.Server) -> None:
    """Approve, repair, validate and go back, as if nothing had happened."""
    for database in DATABASES:
        url = url_of(cluster, database)
        with session(cluster, database) as connection:
            last = connection.execute("select max(id) from integrity.event").fetchone()
            admit(connection, factory.quest(connection))
            logged = connection.execute("select kind, id > %s from integrity.event order by id desc limit 1", last)
            assert logged.fetchone() == ("application_approved", True)
        assert run_at(url, "guards", "--probe").code == 0
        assert run_at(url, "upgrade").code == 0
    assert run_at(url_of(cluster, WHOLE), "validate").code == 0
    repair = ("audit", "--fix-issues", "--yes", "--missing-participant", "create", "--fail-on", "never")
    assert run_at(url_of(cluster, BROKEN), *repair).code == 0
    assert run_at(url_of(cluster, BROKEN), "guards").code == 0
    assert run_at(url_of(cluster, WHOLE), "downgrade", "base", "-x", "drop-records=true").code == 0
