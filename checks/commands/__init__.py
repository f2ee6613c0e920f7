"""The commands, a module per subject; here what they share: the app, the database they work on, exit codes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import psycopg
import typer

from checks import migrate, render
from checks.errors import UserError
from checks.target import Target, resolve

EXIT_VIOLATIONS = 1
EXIT_COULD_NOT_RUN = 2
EXIT_DAMAGE = 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keeps PeerQuest's approvals and participants together, in PostgreSQL itself.",
)


@app.callback()
def options(
    context: typer.Context,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database to work on; else DATABASE_URL, else PGHOST/PGSERVICE/PGDATABASE, else an embedded server.",
        ),
    ] = None,
) -> None:
    """Remember which database was named; commands that need none must not touch it."""
    context.obj = database_url


def target_of(context: typer.Context) -> Target:
    target = resolve(context.obj)
    render.say(target.describe())
    return target


@contextmanager
def connected(context: typer.Context, migrated: bool = True) -> Iterator[psycopg.Connection[Any]]:
    with target_of(context).connect(autocommit=True) as connection:
        if migrated:
            migrate.require_current(connection)
        yield connection


@contextmanager
def writing(path: Path | None) -> Iterator[TextIO]:
    """Yield standard output, or a file that appears under its name only when it is whole.

    Raises:
        UserError: the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as out:
            yield out
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name a file in a folder you may write to") from error
    finally:
        unfinished.unlink(missing_ok=True)
