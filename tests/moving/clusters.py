"""PostgreSQL servers of several majors, side by side, with a whole database and a broken one in each."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

import checks
from checks import account, guards, migrate, server
from checks.target import Target
from tests.mechanism.test_dump_restore import live
from tests.support import plant
from tests.support.cli import run_at
from tests.support.templates import APP_TABLES

Connection = psycopg.Connection[Any]

DATABASES = WHOLE, BROKEN = "whole", "broken"
# A rule of a user's own.
OWN_RULE = """
create view integrity.untitled_quest as
select
  'untitled_quest'::text as rule, 'warning'::text as severity, quest.id as quest_id, null::uuid as user_id,
  null::bigint as application_id, null::bigint as participant_id, 'a quest without a title'::text as message,
  null::jsonb as expected, null::jsonb as found, null::text as repair,
  'untitled_quest:quest=' || quest.id as key
from public.quests_quest as quest
where quest.title = '';
select integrity.add_rule('untitled_quest', 'warning', 'untitled quests', 'Every quest has a title.');
"""


@dataclass(frozen=True)
class State:
    """What must be the same before and after a move: what the commands say, and every row there is."""

    guards: list[guards.Guard]
    violations: list[str]
    law: list[tuple[Any, ...]]
    rows: dict[str, list[str]]


def url_of(cluster: server.Server, database: str) -> str:
    """Return how to connect to a database of a server."""
    return make_conninfo(host=str(cluster.sockets), port=cluster.port, dbname=database, user="postgres")


@contextmanager
def session(cluster: server.Server, database: str = "postgres") -> Iterator[Connection]:
    """Yield a connection in autocommit mode."""
    with Target(url_of(cluster, database), "test").connect(autocommit=True) as connection:
        yield connection


@contextmanager
def temporary(binaries: Path, **settings: str) -> Iterator[server.Server]:
    """Run a throw-away server of one engine."""
    with ExitStack() as kept:
        before = os.environ.get("PG_BINDIR")
        os.environ["PG_BINDIR"] = str(binaries)
        try:
            running = kept.enter_context(server.throwaway(settings))
        finally:
            os.environ.pop("PG_BINDIR")
            if before is not None:
                os.environ["PG_BINDIR"] = before
        yield running


def furnish(cluster: server.Server) -> None:
    """Make both databases: with approvals, ends and corrections in the log, audits and repairs, additions of a user."""
    for database in DATABASES:
        with session(cluster) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
        target = Target(url_of(cluster, database), "test")
        with target.connect() as connection:
            connection.execute(APP_TABLES.read_text().encode())
            if database == BROKEN:
                plant.everything(connection)
        migrate.upgrade(target)
        with target.connect() as connection:
            live(connection)
            connection.execute(OWN_RULE.encode())
        said = [("statuses", "--add", "quests_quest:archived"), ("audit", "--record", "--fail-on", "never")]
        if database == BROKEN:
            said.append(
                (
                    "audit",
                    "--fix-issues",
                    "--yes",
                    "--missing-participant",
                    "create",
                    "--limit",
                    "2",
                    "--fail-on",
                    "never",
                )
            )
        else:
            said.append(("enforce", "duplicate_pending"))
        for command in said:
            assert run_at(url_of(cluster, database), *command).code == 0, command


def state(cluster: server.Server, database: str) -> State:
    """Read everything."""
    with session(cluster, database) as connection:
        names = connection.execute(
            "select format('%I.%I', relnamespace::regnamespace, relname) from pg_class"
            " where relkind = 'r' and relnamespace in ('public'::regnamespace, 'integrity'::regnamespace)"
        ).fetchall()
        return State(
            [guard for guard in guards.read(connection) if guard.status != "ok"],
            sorted(map(str, checks.audit(connection).violations)),
            connection.execute("select name, state from integrity.law_status order by name").fetchall(),
            {
                name: sorted(row for (row,) in connection.execute(f"select t::text from {name} as t".encode()))
                for (name,) in names
            },
        )


def run(program: Path, *arguments: object, stdin: str | None = None, cwd: Path | None = None) -> str:
    """Run one of PostgreSQL's programs as the account that runs the servers; return what it printed."""
    done = subprocess.run(
        [program, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd or "/",
        user=account.uid(),
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def initialise(binaries: Path, folder: Path, *options: str) -> server.Server:
    """Create a server, not started, in a folder of its own."""
    created = server.Server(binaries, folder, folder / "run")
    for owned in (folder, created.sockets, created.data):
        owned.mkdir(mode=0o700)
        account.give(owned)
    usual = ("-N", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres")
    run(binaries / "initdb", "-D", created.data, *usual, *options)
    return created


@contextmanager
def started(cluster: server.Server) -> Iterator[server.Server]:
    """Run a server that `initialise` or pg_upgrade made; it ends as a clean shutdown leaves it."""
    options = server._options(cluster.sockets, cluster.port, {**server.THROWAWAY_SETTINGS, "max_connections": "50"})
    with cluster.log.open("wb") as log:
        process = account.start([cluster.binaries / "postgres", "-D", cluster.data, *options], log, log)
    try:
        cluster._wait_ready(lambda: process.poll() is None)
        yield cluster
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(server.STOP_SECONDS)


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder with a short path that the servers' account may write to."""
    with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
        account.give(Path(name))
        yield Path(name)
