"""Where a password must never show up, and that the TLS settings of a URL reach libpq."""

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from checks import server
from checks.engine import find_binaries
from checks.errors import UserError
from checks.target import Target, resolve
from tests.support import plant
from tests.support.cli import PROGRAM, SECONDS, Ran, backend_of, finish
from tests.support.database import url_of
from tests.support.templates import APP_TABLES
from tests.support.waiting import wait_until_blocked

# Nobody else's: the whole machine's process list is looked at.
PASSWORD = f"0pen-{uuid4().hex}"
OWNER, DATABASE = "ali", "cave"

_Connection = psycopg.Connection[Any]

SETTINGS = {
    "log_connections": "on",
    "log_statement": "all",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug1",
    "log_line_prefix": "%u %a %d ",
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[server.Server]:
    """Yield a server that asks for a password and logs what a server can log, with a live database."""
    with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
        hba = Path(name) / "pg_hba.conf"
        hba.write_text(f"local all {OWNER} scram-sha-256\nlocal all all trust\n")
        # The server runs as somebody else when we are root.
        Path(name).chmod(0o755)
        with server.throwaway({**SETTINGS, "hba_file": str(hba)}) as running:
            with psycopg.connect(running.url, autocommit=True) as connection:
                # As psql's \password does, so that the server never sees it.
                verifier = connection.pgconn.encrypt_password(PASSWORD.encode(), OWNER.encode(), b"scram-sha-256")
                connection.execute(f"create role {OWNER} login createrole password '{verifier.decode()}'")
                connection.execute(f"create database {DATABASE} owner {OWNER}")
            with admin(running) as connection:
                connection.execute(f"grant usage, create on schema public to {OWNER}")
                connection.execute(f"set role {OWNER}")
                connection.execute(APP_TABLES.read_bytes())
                plant.everything(connection)
            yield running


def admin(running: server.Server) -> _Connection:
    """Connect as the superuser, who needs no password."""
    return psycopg.connect(host=str(running.sockets), port=running.port, user="postgres", dbname=DATABASE)


def given(running: server.Server, way: str, password: str = PASSWORD) -> dict[str, str]:
    """Return an environment that names the database and the password."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    where = f"{DATABASE}?host={quote(str(running.sockets), safe='')}&port={running.port}"
    return (
        plain
        | {
            "url": {"DATABASE_URL": f"postgresql://{OWNER}:{password}@/{where}"},
            "parameter": {"DATABASE_URL": f"postgresql://{OWNER}@/{where}&password={password}"},
            "keywords": {
                "DATABASE_URL": f"host={running.sockets} port={running.port} dbname={DATABASE} user={OWNER} "
                f"password={password}"
            },
            "libpq": {
                "PGHOST": str(running.sockets),
                "PGPORT": str(running.port),
                "PGDATABASE": DATABASE,
                "PGUSER": OWNER,
                "PGPASSWORD": password,
            },
        }[way]
    )


def start(environment: Mapping[str, str], *arguments: object) -> "subprocess.Popen[str]":
    piped: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([PROGRAM, *map(str, arguments)], env=environment, text=True, **piped)


def process_list() -> dict[int, bytes]:
    """Return the command line of every process, as anybody on the machine can see it."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            # It has ended.
            continue
    return found


@pytest.mark.parametrize("way", ["url", "parameter", "keywords", "libpq"])
def test_a_password_is_shown_to_nobody(way: str, guarded: server.Server) -> None:
    for password, said in ((PASSWORD, "not migrated"), (f"wrong-{PASSWORD}", "wrong or missing password")):
        ran = finish(start(given(guarded, way, password), "audit"))
        assert (ran.code, said in ran.err) == (2, True), ran.err
        assert PASSWORD not in ran.out + ran.err


def test_a_password_is_nowhere(guarded: server.Server) -> None:
    """Through everything that a database goes through with us."""
    environment = given(guarded, "url")

    def ran(*arguments: object) -> Ran:
        done = finish(start(environment, *arguments))
        assert PASSWORD not in done.out + done.err, arguments
        return done

    assert ran("upgrade").code == 0
    assert ran("audit", "--detailed").code == 1
    assert ran("audit", "--fix-issues", "--yes", "--missing-participant", "create", "--reason", "tidy up").code == 1
    assert "tidy up" in ran("repairs").out
    assert "repaired" in ran("events").out
    assert ran("undo", "1").code in {0, 1}

    with admin(guarded) as holder, psycopg.connect(holder.info.dsn, autocommit=True) as observer:
        holder.execute("lock table quests_quest")
        waiting = start(environment, "audit")
        try:
            wait_until_blocked(observer, backend_of(observer, waiting))
            seen = process_list()
        finally:
            waiting.kill()
            waiting.communicate()
        holder.rollback()
        titles = observer.execute("select to_jsonb(activity)::text from pg_stat_activity as activity").fetchall()
    assert b"quest-integrity" in seen[waiting.pid]
    assert [command for command in seen.values() if PASSWORD.encode() in command] == []
    assert [title for (title,) in titles if PASSWORD in title] == []

    # The event log, the record of repairs, comments: all of the database.
    with admin(guarded) as connection:
        # Not our libpq's own words for it, which an older pg_dump may not know.
        command = [find_binaries() / "pg_dump", "--dbname", url_of(connection)]
        dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "COPY integrity.event_" in dump
    assert PASSWORD not in dump

    # A bug of ours, with everything that Python has to say about it.
    with admin(guarded) as connection:
        (events,) = connection.execute("select pg_get_viewdef('integrity.events')").fetchone() or ("",)
        by_zero = events.replace("happened.id,", "happened.id / 0 as id,", 1)
        connection.execute(f"create or replace view integrity.events as {by_zero}".encode())
    broken = ran("events")
    assert "division by zero" in broken.err
    assert ran("downgrade", "base", "-x", "drop-records=true").code == 0

    log = guarded.log.read_text()
    assert "lock table quests_quest" in log
    assert PASSWORD not in log


@contextmanager
def asked_for_tls(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of a server that answers the request for TLS, and what its clients said first."""
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    said.append(client.recv(8))
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], said
        # Wakes the thread up, which close() alone does not.
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(SECONDS)


# Length and code of SSLRequest, of the protocol's description.
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


@pytest.fixture(params=["psycopg", "sqlalchemy"])
def through(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refusal(found: Target, through: str) -> str:
    with pytest.raises(UserError) as caught:
        found.connect() if through == "psycopg" else found.engine().connect()
    return str(caught.value)


@pytest.mark.parametrize("form", ["postgresql://u@127.0.0.1:{}/d?{}", "host=127.0.0.1 port={} user=u dbname=d {}"])
class TestTls:
    """What libpq does with a setting shows that it got it."""

    def url(self, form: str, port: int, **settings: str) -> Target:
        joined = ("&" if "://" in form else " ").join(f"{name}={value}" for name, value in settings.items())
        return resolve(form.format(port, joined))

    def test_that_is_required_is_asked_for(self, form: str, through: str) -> None:
        with asked_for_tls(b"N") as (port, said):
            message = refusal(self.url(form, port, sslmode="require"), through)
        assert "no agreement on TLS: check sslmode" in message
        assert said == [SSL_REQUEST]

    def test_that_is_not_wanted_is_not_asked_for(self, form: str, through: str) -> None:
        with asked_for_tls(b"N") as (port, said):
            refusal(self.url(form, port, sslmode="disable"), through)
        assert said
        assert SSL_REQUEST not in said

    def test_is_asked_for_because_of_the_environment(
        self, form: str, through: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGSSLMODE", "require")
        with asked_for_tls(b"N") as (port, said):
            assert "check sslmode" in refusal(self.url(form, port), through)
        assert said == [SSL_REQUEST]

    @pytest.mark.parametrize(
        ("settings", "missing"),
        [
            ({"sslmode": "verify-full", "sslrootcert": "/nowhere/root.crt"}, "/nowhere/root.crt"),
            ({"sslmode": "verify-ca", "sslrootcert": "/nowhere/root.crt"}, "/nowhere/root.crt"),
            # There, and no certificate.
            ({"sslmode": "require", "sslcert": __file__}, __file__),
        ],
        ids=["verify-full", "verify-ca", "client certificate"],
    )
    def test_looks_at_the_named_certificates(
        self, settings: dict[str, str], missing: str, form: str, through: str
    ) -> None:
        with asked_for_tls(b"S") as (port, said):
            message = refusal(self.url(form, port, **settings), through)
        assert "no agreement on TLS: check sslmode, sslrootcert" in message
        assert missing in message
        assert set(said) == {SSL_REQUEST}
