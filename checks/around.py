"""Run a command while the layer is detached: detach, the command, attach, whatever happens to the command."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import psycopg

from checks import attachment, ddl, render
from checks.errors import UserError
from checks.target import Target, as_user_error

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stops:
    """What asks this program to stop: passed on to the command, and else remembered."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.raising = True
        self.command: subprocess.Popen[bytes] | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        if self.raising:
            raise KeyboardInterrupt
        self.pass_on()

    def pass_on(self) -> None:
        # A terminal has told the command itself when somebody pressed Ctrl+C.
        if self.command is not None and self.received is not None:
            if self.received == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty():
                return
            with suppress(ProcessLookupError):
                self.command.send_signal(self.received)


@contextmanager
def _stops() -> Iterator[_Stops]:
    stops = _Stops()
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        # nohup
        if handler is not signal.SIG_IGN:
            signal.signal(number, stops)
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(target: Target, command: Sequence[str], policy: ddl.LockPolicy = ddl.USUAL) -> int:
    """Detach, run the command, attach; return its exit code, 128 and more when a signal ended it.

    Raises:
        UserError: there is no such command, or the layer cannot be detached; nothing was done.
        DetachedError: the layer could not be attached again.
    """
    if shutil.which(command[0]) is None:
        raise UserError(f"there is no command {command[0]!r}, nothing was done: name a program on PATH")
    with _stops() as stops:
        try:
            with target.connect(autocommit=True) as connection:
                dropped = attachment.detach(connection, policy)
            stops.raising = False
        except (psycopg.Error, KeyboardInterrupt):
            # Perhaps after it had been committed.
            stops.raising = False
            _attach(target, policy)
            if stops.received is None:
                raise
            return 128 + stops.received
        render.say(f"detached: {dropped} views and triggers are gone" if dropped else "the layer was detached already")
        try:
            code = _command(command, stops)
        finally:
            _attach(target, policy)
    return code


def _command(command: Sequence[str], stops: _Stops) -> int:
    if stops.received is not None:
        return 128 + stops.received
    try:
        stops.command = subprocess.Popen(command)  # noqa: S603 - what the user asked for, no shell
    except OSError as error:
        raise UserError(f"cannot run {command[0]}: {error.strerror}") from error
    # It may have come before there was a command to pass it on to.
    stops.pass_on()
    code = stops.command.wait()
    stops.command = None
    return code if code >= 0 else 128 - code


def _attach(target: Target, policy: ddl.LockPolicy) -> None:
    try:
        with target.connect(autocommit=True) as connection:
            if attachment.attach(connection, policy):
                render.say("attached: they are back")
    except attachment.DetachedError:
        raise
    except Exception as error:
        failure = error if isinstance(error, UserError) else as_user_error(error)
        if failure is None:
            raise
        raise attachment.DetachedError(
            f"the layer could not be attached again, {failure}; {attachment.ATTACH}"
        ) from error
