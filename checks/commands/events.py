"""quest-integrity events."""

import sys
from typing import Annotated

import typer

from checks.commands import FormatOption, app, completion, connected


@app.command()
def events(
    context: typer.Context,
    quest: Annotated[int | None, typer.Option(metavar="ID", help="Only of this quest.")] = None,
    user: Annotated[str | None, typer.Option(metavar="USERNAME", help="Only of this user.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from then on: a date, a time, today.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only of this kind; repeatable.", autocompletion=completion.kinds),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the newest N; without it a table has 50, other formats all."),
    ] = None,
    form: FormatOption = "table",
) -> None:
    """List the event log, newest first.

    Example: quest-integrity events --quest 5 --since yesterday
    """
    from checks import events as log
    from checks import violations

    with connected(context, attached=True) as connection:
        log.require_kinds(connection, kind or [])
        found = violations.find_user(connection, user) if user is not None else None
        wanted = {"quest": quest, "user": found, "since": since, "kinds": kind or None, "limit": limit}
        with violations.one_snapshot(connection):
            log.write(connection, wanted, form, sys.stdout)
