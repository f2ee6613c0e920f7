"""The embedded PostgreSQL: one that is kept for the user, and throw-away ones for the demo and the tests.

Both listen on a Unix socket only, in a folder that only their owner can enter, with `trust` authentication.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg

from checks import account, engine
from checks.errors import UserError, one_line
from checks.state import APP, locked, made_whole, state_folder

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
        """Return whether the server's main process is alive; it may still be starting up."""
        pid = self._recorded_pid()
        return pid is not None and self._is_ours(pid)

    def start(self) -> None:
        """Start the server, creating it first if need be, and wait until it answers.

        Does nothing when it answers already. Concurrent calls wait for each other.

        Raises:
            UserError: It cannot be created or does not start; the message ends with the end of its log.
        """
        with locked(self.folder) as lock:
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
            UserError: It does not stop within ``STOP_SECONDS``.
        """
        if not self.folder.exists():
            return False
        with locked(self.folder):
            if not self.running():
                return False
            pg_ctl = self.binaries / "pg_ctl"
            done = account.run(pg_ctl, "stop", "-s", "-D", self.data, "-m", "fast", "-w", "-t", STOP_SECONDS)
            if done.returncode != 0:
                raise UserError(
                    f"the embedded PostgreSQL did not stop within {STOP_SECONDS} s: see its log {self.log} "
                    f"({one_line(done.stderr)})"
                )
        return True

    def _create(self, lock: IO[str]) -> None:
        with made_whole(self.folder) as new:
            (new / "run").mkdir(mode=0o700)
            account.give(new, new / "run")
            _initdb(self.binaries, new / "data", lock)

    def _launch(self) -> None:
        # pg_ctl detaches the server from our terminal, session and file descriptors. It hands the
        # options to a shell, hence the quoting.
        options = shlex.join(_options(self.sockets, self.port, {}))
        arguments = ["-D", self.data, "-l", self.log, "-o", options, "-w", "-t", START_SECONDS]
        done = account.run(self.binaries / "pg_ctl", "start", "-s", *arguments)
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
        message = f"the embedded PostgreSQL does not start: {one_line(reason)}; the end of its log {self.log}:"
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
        UserError: PostgreSQL's programs are not found, or the state folder cannot be created.
    """
    state = state_folder()
    binaries = engine.find_binaries(state)
    # A data directory belongs to one major version; another engine gets another folder.
    folder = state / f"postgresql-{engine.server_version(binaries).split('.')[0]}"
    sockets = folder / "run"
    if not _socket_fits(sockets):
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
        sockets = Path(f"/tmp/{APP}-{os.geteuid()}-{digest}")  # noqa: S108 - owner and mode are checked before use
    return Server(binaries, folder, sockets)


@contextlib.contextmanager
def throwaway(
    settings: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a fresh server for the duration of a ``with`` block; it is fast, not durable.

    It cannot outlive the caller: the kernel ends it when the thread that entered the block ends, however
    that happens. Folders of callers that were killed are removed by the next one.

    Args:
        settings: Server settings (``postgres -c``) added to, or replacing, ``THROWAWAY_SETTINGS``.
        environment: Variables of the server's process.

    Raises:
        UserError: It does not start; the message ends with the end of its log.
    """
    binaries = engine.find_binaries()
    base = _throwaway_base()
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{APP}-", dir=base))
    lock = _hold(folder)
    try:
        folder.chmod(0o711)
        server = Server(binaries, folder, folder / "run")
        server.sockets.mkdir(mode=0o700)
        account.give(server.sockets)
        # Made by us, then given away: the account cannot create anything in the folder itself.
        server.data.mkdir(mode=0o700)
        account.give(server.data)
        _initdb(binaries, server.data, lock)
        options = _options(server.sockets, server.port, {**THROWAWAY_SETTINGS, **(settings or {})})
        with server.log.open("wb") as log:
            process = account.start([binaries / "postgres", "-D", server.data, *options], log, log, lock, environment)
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


def _initdb(binaries: Path, data: Path, lock: IO[str]) -> None:
    options = ["-N", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres"]
    done = account.run(binaries / "initdb", "-D", data, *options, lock=lock)
    if done.returncode != 0:
        raise UserError(
            f"initdb cannot create the embedded PostgreSQL in {data}: correct what it names, or name a database with "
            f"--database-url ({one_line(done.stderr)})"
        )


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
        account.give(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid != account.uid():
        raise UserError(f"{folder} must be a folder that only uid {account.uid()} can enter: remove it")


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
    raise UserError(
        f"no usable folder for a throw-away PostgreSQL among {tried}: set TMPDIR to one with a short path that every "
        "user may enter"
    )


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
