"""quest-integrity guards."""

import sys
from typing import Annotated, Literal

import typer

from checks.commands import EXIT_DAMAGE, app, confirm, connected
from checks.errors import UserError


@app.command()
def guards(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is damaged.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Mend without asking.")] = False,
    against_package: Annotated[
        bool, typer.Option("--against-package", help="Look at the manifest too: is it what this package writes?")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Approve a made-up application too, and roll it back: does it work?")
    ] = False,
    role: Annotated[
        str | None, typer.Option("--role", metavar="NAME", help="With --probe: approve as this role, e.g. the app's.")
    ] = None,
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

    if role is not None and not probe:
        raise UserError("--role goes with --probe: add --probe, or leave --role out")
    with connected(context) as connection:
        found = guarding.read(connection)
        if fix and (mendable := sum(guard.damage and guard.mend is not None for guard in found)):
            if not yes:
                confirm(
                    f"Mend {mendable} guards?", "--fix changes the schema", "look at what it would run without --fix"
                )
            found = guarding.mend(connection, LockPolicy())
        found += guarding.differences(connection) if against_package else []
        failure = guarding.probe(connection, role) if probe else None
    wrong = [guard for guard in found if guard.status != "ok"]
    damage = sum(guard.damage for guard in wrong)
    if form == "table":
        render.show_guards(wrong, render.console())
    else:
        formats.write_guards(form, wrong, sys.stdout)
    render.say(f"{len(found)} guards: {damage} damaged, {len(wrong) - damage} waiting for rows to be repaired")
    if probe:
        render.say(f"probe: an approval fails: {failure}" if failure else "probe: an approval works")
    raise typer.Exit(EXIT_DAMAGE if damage or failure else 0)
