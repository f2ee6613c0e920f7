"""Readers read and operators repair on a cluster as on one machine, with few differences, which docs/citus.md names."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from checks import guards, migrate
from tests.citus.cluster import Cluster
from tests.support import cli, plant
from tests.support.templates import APP_TABLES

DATABASE = "integrity_roles"
OWNER, READER, OPERATOR = "citus_owner", "citus_reader", "citus_operator"
REPAIR = ("audit", "--fix-issues", "--yes", "--missing-participant", "create", "--format", "json")

ERRORS = "select count(*) from integrity.violations where severity = 'error' and repair is not null"

# What a reader may read of the layer as a whole, but for a view with the version of a row, which nobody is granted.
READABLE = """
select target
from integrity.role_grant
where grantee = 'integrity_reader' and kind = 'table' and rights = 'select' and target like 'integrity.%'
and target <> 'integrity.approval_timeline'
"""


@pytest.fixture(scope="module")
def owned(cluster: Cluster) -> Iterator[Cluster]:
    """Yield the cluster with a dirty database, attached by an owner who is no superuser, and a member of each role."""
    with psycopg.connect(cluster.url, autocommit=True) as dba:
        for role in (OWNER, READER, OPERATOR):
            # Citus creates and drops them on every node.
            dba.execute(f"create role {role} login".encode())
        try:
            with cluster.database(DATABASE):
                _attach(cluster)
                dba.execute(f"grant integrity_reader to {READER}".encode())
                dba.execute(f"grant integrity_operator to {OPERATOR}".encode())
                yield cluster
        finally:
            for role in (OWNER, READER, OPERATOR):
                dba.execute(f"drop role {role}".encode())


def _attach(cluster: Cluster) -> None:
    with cluster.connect(DATABASE) as dba:
        dba.execute(f"alter database {DATABASE} owner to {OWNER}".encode())
        dba.execute(f"grant create on schema public to {OWNER}".encode())
    with cluster.connect(DATABASE, OWNER) as connection, connection.transaction():
        connection.execute("set local client_min_messages = error")
        connection.execute(APP_TABLES.read_text().encode())
        plant.everything(connection)
    cluster.distribute(DATABASE, OWNER)
    migrate.upgrade(cluster.target(DATABASE, OWNER))
    with cluster.connect(DATABASE) as dba:
        dba.execute("select integrity.grant_roles()")


@pytest.fixture
def reader(owned: Cluster) -> Iterator[psycopg.Connection[Any]]:
    with owned.connect(DATABASE, READER) as connection:
        yield connection


@pytest.fixture
def operator(owned: Cluster) -> Iterator[psycopg.Connection[Any]]:
    with owned.connect(DATABASE, OPERATOR) as connection:
        yield connection


def _run(connection: psycopg.Connection[Any], *arguments: object) -> str:
    ran = cli.run(connection, *arguments)
    assert ran.code in {0, 1}, ran.err
    return ran.out


def test_who_migrated_owns_the_layer(owned: Cluster) -> None:
    with owned.connect(DATABASE, OWNER) as connection:
        owners = connection.execute(
            "select distinct relowner::regrole::text from pg_class where relnamespace = 'integrity'::regnamespace"
        ).fetchall()
        assert owners == [(OWNER,)]
        assert guards.damaged(connection) == []
        assert guards.probe(connection, None) is None


def test_a_reader_reads_all_but_one_view(owned: Cluster, reader: psycopg.Connection[Any]) -> None:
    with owned.connect(DATABASE, OWNER) as connection:
        names = [name for (name,) in connection.execute(READABLE)]

    for name in names:
        reader.execute(f"select * from {name}".encode())

    assert "integrity.violations" in names
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("select * from integrity.approval_timeline")


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "--format", "json"),
        ("rules",),
        ("events",),
        ("metrics",),
        ("guards",),
        ("report", "--html", "/dev/stdout"),
        ("explain", "duplicate_pending"),
    ],
    ids=lambda command: command[0],
)
def test_the_commands_that_read_are_for_readers(reader: psycopg.Connection[Any], command: tuple[str, ...]) -> None:
    _run(reader, *command)


def test_a_reader_sees_what_differs_on_a_node(owned: Cluster, reader: psycopg.Connection[Any]) -> None:
    other = "create or replace function integrity.mark_quest() returns trigger language plpgsql as 'begin end'"
    with owned.on(owned.workers[0], DATABASE) as worker:
        worker.execute("set citus.enable_ddl_propagation = off")
        worker.execute(other.encode())

    found = [guard.identity for guard in guards.damaged(reader)]

    assert [identity.partition(" on ")[0] for identity in found] == ["integrity.mark_quest()"]
    with owned.connect(DATABASE, OWNER) as connection:
        assert [guard for guard in guards.mend(connection) if guard.damage] == []


@pytest.mark.parametrize(
    "statement",
    [
        "select password from users_user",
        "select description from quests_quest",
        "update applications_application set status = 'rejected' where quest_id = 1",
        "insert into integrity.event (kind, quest_id) values ('x', 1)",
        "select integrity.start_repair('x', '{}')",
    ],
)
def test_a_reader_may_do_nothing_else(reader: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement.encode())


def test_an_operator_repairs_and_undoes_and_is_named(owned: Cluster, operator: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        operator.execute("update applications_application set status = 'rejected' where quest_id = 1")
    before = operator.execute(ERRORS).fetchone()

    repaired = json.loads(_run(operator, *REPAIR))

    assert before != (0,) == operator.execute(ERRORS).fetchone()
    actors = "select distinct actor from integrity.event where kind = %s"
    assert operator.execute(actors, ["repaired"]).fetchall() == [(OPERATOR,)]
    # What triggers write on another node they write as who connects there.
    assert operator.execute(actors, ["participant_joined"]).fetchall() == [(OWNER,)]
    assert "undone" in _run(operator, "undo", repaired["repair"]["run"])
    # As on one machine: by now the layer corrects or refuses most of what was broken before it was there.
    assert operator.execute(ERRORS).fetchone() == (1,)


def test_an_operator_records_audits(operator: psycopg.Connection[Any]) -> None:
    assert json.loads(_run(operator, "audit", "--record", "--format", "json"))
