"""The command line as a user meets it: within this process, as a process of its own, or in a terminal."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from typer.testing import CliRunner

from checks.cli import app
from tests.support import mutation
from tests.support.database import url_of
from tests.support.waiting import wait_until_blocked

PROGRAM = Path(sys.executable).with_name("quest-integrity")
SECONDS = 120

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(connection: _Connection, *arguments: object, stdin: str | None = None) -> Ran:
    """Run a command in this process on the connection's database, after committing; no input is a terminal."""
    connection.commit()
    return run_at(url_of(connection), *arguments, stdin=stdin)


def run_at(url: str, *arguments: object, stdin: str | None = None) -> Ran:
    """Run a command in this process on the database of a URL; no input is a terminal."""
    result = CliRunner().invoke(app, ["--database-url", url, *map(str, arguments)], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def spawn(url: str | None, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a command as a process of its own; its output is piped unless `options` say otherwise."""
    named = [] if url is None else ["--database-url", url]
    piped: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*_program(), *named, *map(str, arguments)], text=True, **piped | options)


def _program() -> list[str]:
    if mutation.VARIABLE in os.environ:
        return [sys.executable, "-m", "tests.support.unguarded"]
    return [str(PROGRAM)]


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for a process."""
    out, err = process.communicate(timeout=SECONDS)
    return Ran(process.returncode, out or "", err or "")


@contextmanager
def blocked(
    holder: _Connection, observer: _Connection, lock: str, *arguments: object, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Yield a command that waits for what the holder's open transaction has locked with `lock`."""
    holder.execute(lock)
    process = spawn(url_of(holder), *arguments, **options)
    try:
        wait_until_blocked(observer, backend_of(observer, process))
        yield process
    finally:
        process.kill()
        process.wait()


def backend_of(observer: _Connection, process: subprocess.Popen[str]) -> int:
    """Return the pid of the backend that a command works through, when it does."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = observer.execute(
            "select pid from pg_stat_activity where application_name = 'quest-integrity'"
            " and datname = current_database() and wait_event_type = 'Lock'"
        ).fetchall()
        observer.rollback()
        if found:
            return int(found[0][0])
        time.sleep(0.02)
    raise AssertionError(f"the command does not wait for a lock: {finish(process)}")


class Terminal:
    """A command whose standard streams are a terminal."""

    def __init__(self, url: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        self._screen, terminal = os.openpty()
        plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
        self._process = subprocess.Popen(
            [*_program(), "--database-url", url, *map(str, arguments)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            env=plain | {"TERM": "xterm-256color", "COLUMNS": "160"} | dict(environment or {}),
        )
        os.close(terminal)
        self.text = ""

    def expect(self, pattern: str) -> None:
        """Read until the screen shows the pattern."""
        while not re.search(pattern, self.text):
            if not self._read():
                raise AssertionError(f"the program ended without {pattern!r}: {self.text}")

    def answer(self, text: str) -> int:
        """Type a line, read the rest and return the exit code."""
        os.write(self._screen, text.encode() + b"\n")
        return self.finish()

    def finish(self) -> int:
        """Read the rest and return the exit code."""
        while self._read():
            pass
        os.close(self._screen)
        return self._process.wait(timeout=SECONDS)

    def _read(self) -> bool:
        # Linux reports the end of a terminal as an error.
        with contextlib.suppress(OSError):
            if read := os.read(self._screen, 65536):
                self.text += read.decode()
                return True
        return False
