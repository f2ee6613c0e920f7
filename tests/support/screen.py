"""Commands in a real pseudo-terminal of a given width, in a fork of this process: they start without importing."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from checks import guards, progress, repair, violations
from checks.cli import app
from checks.target import Target

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LINES = 50
# No command prints it: between the screens, and around the exit code.
BETWEEN = "\0"


@dataclass(frozen=True)
class Look:
    """How wide a terminal is, in cells, and whether colours are wanted."""

    width: int = 80
    colour: bool = False


@dataclass(frozen=True)
class Shown:
    """How a command ended, and what a terminal showed of stdout and stderr together."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """What is there to read, without colours."""
        return ESCAPE.sub("", self.raw)

    @property
    def lines(self) -> list[str]:
        """The text line by line."""
        return self.text.splitlines()


def show(url: str, *arguments: object, width: int = 80, colour: bool = False) -> Shown:
    """Run a command in a terminal; nobody answers what it asks."""
    (shown,) = show_in(url, [Look(width, colour)], *arguments)
    return shown


def show_in(url: str, looks: Sequence[Look], *arguments: object) -> list[Shown]:
    """Run a command that changes nothing once for each look of a terminal, on what the first has read."""
    with warnings.catch_warnings():
        # Threads of the test's runner, which the child does not miss.
        warnings.simplefilter("ignore", DeprecationWarning)
        child, screen = pty.fork()
    if child == 0:
        try:
            _run(["--database-url", url, *map(str, arguments)], looks)
        finally:
            os._exit(0)
    raw = b""
    try:
        while read := os.read(screen, 65536):
            raw += read
    except OSError:
        # So Linux reports the end of a terminal.
        pass
    os.close(screen)
    os.waitpid(child, 0)
    *parts, rest = raw.decode().replace("\r\n", "\n").split(BETWEEN)
    assert (len(parts), rest) == (2 * len(looks), ""), rest
    return [Shown(int(code), shown) for shown, code in zip(parts[::2], parts[1::2], strict=True)]


def _run(arguments: list[str], looks: Sequence[Look]) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI", "TTY_COMPATIBLE"):
        os.environ.pop(name, None)
    os.environ["TERM"] = "xterm-256color"
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    # A busy machine makes slow what otherwise shows no progress.
    progress.QUIET_SECONDS = 3600.0
    if len(looks) > 1:
        # What takes longest and is the same each time.
        Target.connect = _asked_once(Target.connect, nullcontext)  # type: ignore[method-assign]
        guards.read = _asked_once(guards.read)
        violations.report = _asked_once(violations.report)
        repair.rehearse = _asked_once(repair.rehearse)
    for look in looks:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, look.width, 0, 0))
        os.environ.pop("NO_COLOR", None)
        os.environ |= {} if look.colour else {"NO_COLOR": "1"}
        code: int | str | None = 70
        try:
            app(arguments, prog_name="quest-integrity")
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        print(f"{BETWEEN}{code or 0}{BETWEEN}", end="", flush=True)


def _asked_once(ask: Callable[..., Any], given: Callable[[Any], Any] = lambda answer: answer) -> Callable[..., Any]:
    """Return a function that asks a database the first time only, and gives the answer as `given` makes it."""
    kept: dict[str, Any] = {}

    def answer(of: Any, *arguments: object, **options: object) -> Any:
        key = repr((arguments, options))
        if key not in kept:
            kept[key] = ask(of, *arguments, **options)
        return given(kept[key])

    return answer
