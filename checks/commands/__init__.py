"""The commands, a module per subject; here what they share: the app, the database they work on, exit codes.

A command imports what it works with when it runs: the driver and the renderers take longer to import than `--version`
and `--help` take altogether.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer
from typer.core import TyperGroup

from checks.errors import UserError

if TYPE_CHECKING:
    import psycopg

    from checks.target import Target

EXIT_VIOLATIONS = 1
EXIT_COULD_NOT_RUN = 2
EXIT_DAMAGE = 3

ORDER = (
    *("upgrade", "audit", "explain", "rules", "validate", "repairs", "undo", "events", "history", "guards"),
    *("metrics", "report", "statuses", "enforce", "relax", "around", "detach", "attach", "downgrade", "server", "demo"),
)


class Commands(TyperGroup):
    """Says in one sentence why a command could not run, with exit code 2."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order in which people need them."""
        known = [name for name in ORDER if name in self.commands]
        return known + sorted(self.commands.keys() - ORDER)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        code = EXIT_COULD_NOT_RUN
        try:
            try:
                return super().invoke(ctx)
            finally:
                # A closed pipe or a full disk must show here, not when Python exits.
                sys.stdout.flush()
        except typer.Exit:
            # So ends the help of a command, which has no use for what the branches below import.
            raise
        except UserError as error:
            said, code = str(error), error.exit_code
        except typer.BadParameter as error:
            # Typer would not fold what may list many choices.
            said = f"{error.format_message().rstrip('.')}: see `{error.ctx.command_path if error.ctx else ''} -h`"
        except OSError as error:
            said = f"{error.filename or 'standard output'}: {error.strerror or 'it was closed before all was written'}"
            with suppress(OSError):
                # Python would complain once more when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except Exception as error:
            from checks.target import as_user_error

            failure = as_user_error(error)
            if failure is None:
                raise
            said = str(failure)
        from checks import render

        with suppress(OSError):
            render.say(f"error: {said}")
        raise typer.Exit(code)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    # Boxes cut what does not fit into them, and take longer to import than everything else that help needs.
    rich_markup_mode=None,
    help="Keep PeerQuest's approvals and participants consistent, in PostgreSQL.\n\nExample: quest-integrity demo",
)

FormatOption = Annotated[
    Literal["table", "json", "ndjson", "csv"],
    typer.Option("--format", help="table is for people; docs/formats.md describes the others."),
]


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"quest-integrity {version('quest-integrity')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database; without it DATABASE_URL, then PGHOST/PGSERVICE/PGDATABASE, then an embedded server.",
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Remember which database was named; commands that need none must not touch it."""
    context.obj = database_url


def target_of(context: typer.Context) -> "Target":
    from checks import render
    from checks.target import resolve

    target = resolve(context.obj)
    render.say(target.describe())
    return target


@contextmanager
def connected(
    context: typer.Context, migrated: bool = True, attached: bool = False
) -> "Iterator[psycopg.Connection[Any]]":
    from checks import attachment, migrate

    with target_of(context).connect(autocommit=True) as connection:
        if migrated:
            migrate.require_current(connection)
        if attached:
            attachment.require_attached(connection)
        yield connection


@contextmanager
def writing(path: Path | None) -> Iterator[TextIO]:
    """Yield standard output, or a file that appears under its name only when it is whole.

    Raises:
        UserError: the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    # A link stays one; a device or a pipe cannot be replaced by a file.
    final = path.resolve()
    unfinished = final if final.exists() and not final.is_file() else final.with_name(f".{final.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as out:
            yield out
        unfinished.replace(final)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name a file in a folder you may write to") from error
    finally:
        if unfinished != final:
            unfinished.unlink(missing_ok=True)


def confirm(question: str, changes: str, otherwise: str) -> None:
    """Ask on the terminal.

    Raises:
        UserError: the answer is no, or nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UserError(f"{changes} and nobody can be asked here: add --yes, or {otherwise}")
    with suppress(typer.Abort):
        if typer.confirm(question, err=True):
            return
    raise UserError("nothing was changed: the answer was no")


def choose(question: str, answers: tuple[str, ...], elsewhere: str) -> str:
    """Ask on the terminal for one of the answers, below a question that may have several lines.

    Raises:
        UserError: the answer is to stop, or nobody can be asked, which `elsewhere` says.
    """
    if not sys.stdin.isatty():
        raise UserError(elsewhere)
    from checks import render

    render.say(question)
    answer = ""
    while answer not in (*answers, "stop"):
        try:
            answer = typer.prompt(f"Which? ({', '.join(answers)})", default="stop", err=True).strip().lower()
        except typer.Abort:
            answer = "stop"
    if answer == "stop":
        raise UserError("nothing was changed: the answer was to stop")
    return answer


def severities(connection: "psycopg.Connection[Any]") -> dict[str, str]:
    """Return the severities that the project around the current folder overrides."""
    from checks import settings, violations

    chosen = settings.severities(Path.cwd())
    violations.require_rules(connection, list(chosen))
    return chosen
