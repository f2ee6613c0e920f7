"""quest-integrity statuses."""

import sys
from typing import Annotated

import typer

from checks.commands import FormatOption, app, connected
from checks.errors import UserError


@app.command()
def statuses(
    context: typer.Context,
    add: Annotated[
        str | None, typer.Option("--add", metavar="TABLE:STATUS", help="Add a status that the app has now.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="TABLE:STATUS", help="Remove an added one that no row has.")
    ] = None,
    form: FormatOption = "table",
) -> None:
    """List the statuses that the app may write, add or remove one.

    An added application status means not approved, a participant status active; a quest with an added one is left
    alone. Exit code 0: done; 2: could not run, and nothing was changed.

    Example: quest-integrity statuses --add applications_application:withdrawn
    """
    from checks import records, render
    from checks import statuses as known
    from checks.screens.statuses import show_statuses

    if add is not None and remove is not None:
        raise UserError("--add and --remove are two changes: run one after the other")
    given = add if add is not None else remove
    if given is not None:
        known.parse(given)
    with connected(context) as connection:
        if given is None:
            found = known.read(connection)
            if form == "table":
                show_statuses(found, render.console())
            else:
                records.write(form, found, known.COLUMNS, sys.stdout)
            return
        change = known.add if add is not None else known.remove
        remaining = change(connection, given)
        render.say(f"{'added' if add is not None else 'removed'}: {given}")
        for item in remaining:
            render.say(
                f"{item.name} is not enforced on old rows, as before ({item.state}): repair the rules "
                f"{', '.join(item.rules)}, then run `quest-integrity validate`"
            )
