"""quest-integrity guards."""

import sys
from typing import Annotated, Literal

import typer

from checks.commands import EXIT_DAMAGE, app, confirm, connected


@app.command()
def guards(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is damaged.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Mend without asking.")] = False,
    against_package: Annotated[
        bool, typer.Option("--against-package", help="Look at the manifest too: is it what this package writes?")
    ] = False,
    form: Annotated[
        Literal["table", "json", "ndjson", "csv"], typer.Option("--format", help="What to print of those not ok.")
    ] = "table",
) -> None:
    """Say whether the layer is whole, as it was, and switched on.

    Exit code 0: it is; 3: something is damaged; 2: could not run.

    Example: quest-integrity guards --fix
    """
    from checks import formats, render
    from checks import guards as guarding
    from checks.ddl import LockPolicy

    with connected(context) as connection:
        found = guarding.read(connection)
        if fix and (mendable := sum(guard.damage and guard.mend is not None for guard in found)):
            if not yes:
                confirm(
                    f"Mend {mendable} guards?", "--fix changes the schema", "look at what it would run without --fix"
                )
            found = guarding.mend(connection, LockPolicy())
        found += guarding.differences(connection) if against_package else []
    wrong = [guard for guard in found if guard.status != "ok"]
    damage = sum(guard.damage for guard in wrong)
    if form == "table":
        for guard in [guard for guard in wrong if guard.status == "detached"]:
            render.say(f"the layer is {guard.detail}")
        render.show_guards([guard for guard in wrong if guard.status != "detached"], render.console())
    else:
        formats.write_guards(form, wrong, sys.stdout)
    render.say(f"{len(found)} guards: {damage} damaged, {len(wrong) - damage} waiting for rows to be repaired")
    raise typer.Exit(EXIT_DAMAGE if damage else 0)
