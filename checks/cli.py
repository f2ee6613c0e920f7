"""The entry point: every command, and what happens when one cannot run."""

from checks import render
from checks.commands import EXIT_COULD_NOT_RUN, app, audit, migration, repairs, server
from checks.errors import UserError
from checks.target import user_errors

__all__ = ["app", "audit", "main", "migration", "repairs", "server"]


def main() -> None:
    """Run the command line; what goes wrong is told in one sentence, with exit code 2."""
    try:
        with user_errors():
            app()
    except UserError as error:
        render.say(f"error: {error}")
        raise SystemExit(EXIT_COULD_NOT_RUN) from None
