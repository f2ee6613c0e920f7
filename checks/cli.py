"""The entry point: every command, and what happens when one cannot run."""

import os
import sys

from checks import render
from checks.commands import EXIT_COULD_NOT_RUN, app, audit, guards, migration, repairs, rules, server
from checks.errors import UserError
from checks.target import user_errors

__all__ = ["app", "audit", "guards", "main", "migration", "repairs", "rules", "server"]


def main() -> None:
    """Run the command line; what goes wrong is told in one sentence, with exit code 2."""
    try:
        with user_errors():
            app()
    except UserError as error:
        render.say(f"error: {error}")
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        render.say("error: standard output was closed before everything was written")
    else:
        return
    raise SystemExit(EXIT_COULD_NOT_RUN)
