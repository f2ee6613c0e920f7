"""A command in a real pseudo-terminal of a given width, in a fork of this process: it starts without importing."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import traceback
import warnings
from dataclasses import dataclass

from checks.cli import app

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LINES = 50


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
    """Run a command in a terminal so many cells wide; nobody answers what it asks."""
    with warnings.catch_warnings():
        # Threads of the test's runner, which the child does not miss.
        warnings.simplefilter("ignore", DeprecationWarning)
        child, screen = pty.fork()
    if child == 0:
        os._exit(_run(["--database-url", url, *map(str, arguments)], width, colour))
    raw = b""
    try:
        while read := os.read(screen, 65536):
            raw += read
    except OSError:
        # So Linux reports the end of a terminal.
        pass
    os.close(screen)
    _, status = os.waitpid(child, 0)
    return Shown(os.waitstatus_to_exitcode(status), raw.decode().replace("\r\n", "\n"))


def _run(arguments: list[str], width: int, colour: bool) -> int:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, width, 0, 0))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI", "TTY_COMPATIBLE"):
        os.environ.pop(name, None)
    os.environ |= {"TERM": "xterm-256color"} | ({} if colour else {"NO_COLOR": "1"})
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    code = 70
    try:
        app(arguments, prog_name="quest-integrity")
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code
