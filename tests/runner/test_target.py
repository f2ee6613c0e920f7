"""Which database, how it is described, and what is said when it does not work."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

from checks import server, target
from checks.errors import UserError
from checks.state import STATE_VARIABLE
from checks.target import Target, resolve, user_errors
from tests.support.database import another, target_of, url_of

PASSWORD = "sesame-0pen"


@pytest.fixture(scope="module")
def guarded() -> Iterator[server.Server]:
    """Yield a server that asks the role ``ali`` for a password and turns ``cassim`` away."""
    with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
        hba = Path(name) / "pg_hba.conf"
        hba.write_text("local all ali scram-sha-256\nlocal all cassim reject\nlocal all all trust\n")
        # The server runs as somebody else when we are root.
        Path(name).chmod(0o755)
        with server.throwaway({"hba_file": str(hba)}) as running:
            with psycopg.connect(running.url) as connection:
                connection.execute(f"CREATE ROLE ali LOGIN PASSWORD '{PASSWORD}'")
                connection.execute("CREATE ROLE cassim LOGIN")
            yield running


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Yield a port that is taken but does not listen."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG") and name != "PG_BINDIR"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def conninfo(running: server.Server, **settings: str) -> str:
    return psycopg.conninfo.make_conninfo(
        host=str(running.sockets), port=running.port, **({"dbname": "postgres"} | settings)
    )


def refusal(found: Target) -> str:
    """Return what the user is told when the connection fails."""
    with pytest.raises(UserError) as caught:
        found.connect()
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestResolve:
    @pytest.mark.parametrize(
        ("given", "described"),
        [
            ("postgresql://u:pw-1@h:5433/d", "u@h:5433/d"),
            ("postgres://u:pw-1@h/d", "u@h:5432/d"),
            ("postgresql+psycopg://u:pw-1@h/d", "u@h:5432/d"),
            ("postgresql://u@h/d?password=pw-1&sslmode=require", "u@h:5432/d"),
            ("postgresql://u:pw-1%40%2F@h/d", "u@h:5432/d"),
            ("postgresql://u@/d?host=%2Frun%2Fpg&port=6000", "u@/run/pg:6000/d"),
            ("postgresql://u@h1:1,h2:2/d", "u@h1,h2:1,2/d"),
            ("postgresql://u@h", "u@h:5432/u"),
            ("host=h user=u password=pw-1 dbname=d", "u@h:5432/d"),
            ("user=u dbname=d", "u@[local]:5432/d"),
            ("service=prod", "service prod"),
        ],
    )
    def test_accepts_what_libpq_and_sqlalchemy_accept(self, given: str, described: str) -> None:
        found = resolve(given)
        assert found.describe() == f"database: {described} (from --database-url)"
        assert "pw-1" not in repr(found)

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "nonsense-pw-1",
            "mysql://u:pw-1@h/d",
            "postgresql://u:pw-1%zz@h/d",
            "postgresql://u:x/pw-1@h/d",
            "postgresql://u:1/pw-1@h/d",
            "postgresql://u:x@pw-1@h/d",
            "postgresql://u:x@y/pw-1@h/d",
            "postgresql://h/d?passwort=pw-1",
            "host=h password='pw-1",
            "host=h dbname=postgresql://u:pw-1@h/d",
        ],
    )
    @pytest.mark.parametrize("variable", [False, True])
    def test_refuses_what_nobody_understands(self, given: str, variable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if variable:
            # As everywhere, an empty variable is one that is not set.
            monkeypatch.setenv("DATABASE_URL", given or "x")
        with pytest.raises(UserError, match=r"expected postgresql://user@host:5432/dbname or ") as caught:
            resolve(None if variable else given)
        assert str(caught.value).startswith("DATABASE_URL is" if variable else "--database-url is")
        assert "pw-1" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_the_first_that_is_given_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        embedded = server.Server(Path("/bin"), Path("/state"), Path("/sockets"))
        monkeypatch.setattr(server, "persistent", lambda: embedded)
        monkeypatch.setattr(server.Server, "start", lambda self: None)
        assert resolve(None).describe() == "database: postgres@/sockets:5432/postgres (embedded server)"
        monkeypatch.setenv("PGUSER", "u")
        assert resolve(None).describe().endswith("(embedded server)"), "names no database"
        monkeypatch.setenv("PGHOST", "h")
        monkeypatch.setenv("PGDATABASE", "d")
        assert resolve(None).describe() == "database: u@h:5432/d (from PGHOST, PGDATABASE)"
        monkeypatch.setenv("DATABASE_URL", "")
        assert resolve(None).describe() == "database: u@h:5432/d (from PGHOST, PGDATABASE)"
        monkeypatch.setenv("DATABASE_URL", "postgresql://v@i/e")
        assert resolve(None).describe() == "database: v@i:5432/e (from DATABASE_URL)"
        assert resolve("postgresql://w@j/f").describe() == "database: w@j:5432/f (from --database-url)"

    def test_starts_the_embedded_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
            Path(name).chmod(0o755)
            monkeypatch.setenv(STATE_VARIABLE, name)
            try:
                with resolve(None).connect() as connection:
                    assert connection.info.dbname == "postgres"
            finally:
                server.persistent().stop()

    def test_leaves_a_service_to_libpq(
        self, guarded: server.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        services = tmp_path / "pg_service.conf"
        services.write_text(
            f"[treasure]\nhost={guarded.sockets}\nport={guarded.port}\nuser=ali\npassword={PASSWORD}\n"
            "dbname=postgres\noptions=-c work_mem=7MB\n"
        )
        monkeypatch.setenv("PGSERVICEFILE", str(services))
        monkeypatch.setenv("PGSERVICE", "treasure")
        for found in (resolve(None), resolve("service=treasure")):
            assert found.describe().startswith("database: service treasure (from ")
            with found.connect() as connection:
                assert connection.info.user == "ali"
                row = connection.execute("SHOW work_mem").fetchone()
                assert row == ("7MB",)


class TestConnect:
    def test_names_itself_unless_the_user_did(
        self, empty: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def name(url: str) -> Any:
            with resolve(url).connect() as connection:
                row = connection.execute("SHOW application_name").fetchone()
            assert row is not None
            return row[0]

        url = url_of(empty)
        assert name(url) == "quest-integrity"
        assert name(f"{url}&application_name=nightly") == "nightly"
        monkeypatch.setenv("PGAPPNAME", "cron")
        assert name(url) == "cron"

    def test_autocommit_is_the_callers_choice(self, empty: psycopg.Connection[Any]) -> None:
        for autocommit in (False, True):
            with target_of(empty).connect(autocommit=autocommit) as connection:
                assert connection.autocommit is autocommit

    def test_an_engine_reaches_the_same_database_with_the_same_settings(self, guarded: server.Server) -> None:
        options = "-c statement_timeout=4321"
        found = resolve(conninfo(guarded, user="ali", password=PASSWORD, options=options))
        with found.engine().connect() as connection:
            assert connection.scalar(sqlalchemy.text("SELECT current_user")) == "ali"
            assert connection.scalar(sqlalchemy.text("SHOW statement_timeout")) == "4321ms"
            assert connection.scalar(sqlalchemy.text("SHOW application_name")) == "quest-integrity"

    def test_an_engine_refuses_as_clearly(self, closed_port: int) -> None:
        engine = resolve(f"postgresql://u@127.0.0.1:{closed_port}/d").engine()
        with pytest.raises(UserError, match="cannot be reached"):
            engine.connect()

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"user": "ali", "password": "open-" + PASSWORD}, "wrong or missing password"),
            ({"user": "ali"}, "wrong or missing password"),
            ({"user": "cassim", "password": PASSWORD}, "does not admit this user"),
            ({"user": "nobody-here", "password": PASSWORD}, "no such user: create the role"),
            ({"user": "ali", "password": PASSWORD, "dbname": "cave"}, "no such database: create it"),
            ({"user": "ali", "password": PASSWORD, "sslmode": "nonsense"}, "sslmode"),
        ],
    )
    def test_says_what_the_server_refuses(self, guarded: server.Server, settings: dict[str, str], said: str) -> None:
        found = resolve(conninfo(guarded, **settings))
        message = refusal(found)
        user = settings["user"]
        assert message.startswith(f"cannot connect to {user}@{guarded.sockets}:{guarded.port}/")
        assert said in message
        for text in (message, found.describe(), repr(found)):
            assert PASSWORD not in text

    def test_says_that_the_server_is_not_there(self, closed_port: int) -> None:
        message = refusal(resolve(f"postgresql://u:{PASSWORD}@127.0.0.1:{closed_port}/d"))
        assert "cannot be reached: start it, or correct host and port" in message
        assert "Connection refused" in message
        assert PASSWORD not in message

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("postgresql://u@/d?host=%2Fnowhere", "cannot be reached"),
            ("postgresql://u@127.0.0.1:70000/d", "invalid port number"),
            ("service=nowhere", "no such service"),
        ],
    )
    def test_says_what_libpq_refuses(self, url: str, said: str) -> None:
        assert said in refusal(resolve(url))

    def test_hides_a_password_that_is_echoed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # libpq has no such message today.
        def connect(**_: object) -> None:
            raise psycopg.OperationalError(f"connection failed: bad words {PASSWORD}, env-secret")

        monkeypatch.setattr(psycopg, "connect", connect)
        monkeypatch.setenv("PGPASSWORD", "env-secret")
        assert "(bad words ***, env-secret)" in refusal(resolve(f"postgresql://u@h/d?password={PASSWORD}"))
        assert "env-secret)" not in refusal(resolve("postgresql://u@h/d"))

    def test_gives_up_on_a_server_that_stays_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            assert "timeout" in refusal(resolve(f"postgresql://u@{address}/d?connect_timeout=2"))
            monkeypatch.setattr(target, "CONNECT_SECONDS", 2)
            assert "timeout" in refusal(resolve(f"postgresql://u@{address}/d"))


class TestUserErrors:
    @pytest.mark.parametrize(
        ("statements", "said"),
        [
            (["SELECT * FROM integrity.violations"], "not migrated.*run `quest-integrity upgrade`.*42P01"),
            (["CREATE TABLE integrity.t ()"], "not migrated.*3F000"),
            (["SELECT integrity_f()"], "not migrated.*42883"),
            (["SET TRANSACTION READ ONLY", "CREATE TABLE t ()"], "read-only.*25006"),
            (["SET statement_timeout = '10ms'", "SELECT pg_sleep(10)"], "statement_timeout.*57014"),
            (["SELECT pg_terminate_backend(pg_backend_pid())"], "ended the connection.*57P01"),
            (
                ["CREATE TABLE t (n int CHECK (n > 0))", "INSERT INTO t VALUES (0)"],
                "refused.*t_n_check.*23514",
            ),
            (["DO $$BEGIN RAISE 'x' USING ERRCODE = 'disk_full'; END$$"], "disk is full.*53100"),
            (
                ["DO $$BEGIN RAISE 'x' USING ERRCODE = '40001', HINT = 'try'; END$$"],
                r"again \(x: try; .*40001",
            ),
            (["SET ROLE pg_monitor", "CREATE SCHEMA mine"], "lacks a permission.*42501"),
        ],
    )
    @pytest.mark.parametrize("through_sqlalchemy", [False, True])
    def test_turns_into_one_sentence(
        self, empty: psycopg.Connection[Any], statements: list[str], said: str, through_sqlalchemy: bool
    ) -> None:
        found = target_of(empty)

        @user_errors()
        def execute() -> None:
            if through_sqlalchemy:
                with found.engine().connect() as connection:
                    for statement in statements:
                        connection.execute(sqlalchemy.text(statement))
            else:
                with found.connect() as session:
                    for statement in statements:
                        session.execute(statement)

        with pytest.raises(UserError, match=said) as caught:
            execute()
        assert isinstance(caught.value.__cause__, (psycopg.Error, sqlalchemy.exc.DBAPIError))
        assert "\n" not in str(caught.value)

    def test_waiting_too_long_for_a_lock(self, empty: psycopg.Connection[Any]) -> None:
        empty.execute("CREATE TABLE t ()")
        empty.commit()
        empty.execute("LOCK TABLE t")
        with another(empty) as second:
            second.execute("SET lock_timeout = '10ms'")
            with pytest.raises(UserError, match=r"holds a lock for longer than lock_timeout.*55P03"), user_errors():
                second.execute("LOCK TABLE t")

    def test_a_connection_that_breaks(self, empty: psycopg.Connection[Any]) -> None:
        with another(empty) as second:
            empty.execute("SELECT pg_terminate_backend(%s, 10000)", [second.info.backend_pid])
            with pytest.raises(UserError, match="run the command again"), user_errors():
                second.execute("SELECT 1")
            with pytest.raises(UserError, match="connection to the database was lost"), user_errors():
                second.execute("SELECT 1")

    def test_a_bug_stays_a_bug(self, empty: psycopg.Connection[Any]) -> None:
        with pytest.raises(psycopg.errors.SyntaxError), user_errors():
            empty.execute("SELEKT")
        with pytest.raises(psycopg.ProgrammingError), user_errors():
            empty.execute("SELECT %s", [1, 2])
        refused = pytest.raises(sqlalchemy.exc.ProgrammingError)
        with target_of(empty).engine().connect() as connection, refused, user_errors():
            connection.execute(sqlalchemy.text("SELEKT"))
        with pytest.raises(ZeroDivisionError), user_errors():
            _ = 1 / 0
