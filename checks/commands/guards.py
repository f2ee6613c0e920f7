"""quest-integrity guards."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from checks.commands import EXIT_DAMAGE, FormatOption, app, confirm, connected
from checks.errors import UserError


@app.command()
def guards(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Repair what is damaged.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    against_package: Annotated[
        bool, typer.Option("--against-package", help="Compare the manifest too, with what this package writes.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Approve a made-up application too, and roll it back.")
    ] = False,
    role: Annotated[
        str | None, typer.Option("--role", metavar="NAME", help="With --probe: approve as this role, e.g. the app's.")
    ] = None,
    form: FormatOption = "table",
) -> None:
    """Check that the layer's objects exist, unmodified and enabled.

    Exit code 0: they are; 3: something is damaged; 2: could not run.

    Example: quest-integrity guards --fix
    """
    from checks import guards as guarding
    from checks import records, render
    from checks.screens import guards as screen

    if role is not None and not probe:
        raise UserError("--role goes with --probe: add --probe, or leave --role out")
    with connected(context) as connection:
        found = guarding.read(connection)
        if fix and (mendable := sum(guard.damage and guard.mend is not None for guard in found)):
            if not yes:
                question = f"Repair {render.count(mendable, 'object')}?"
                confirm(question, "--fix changes the schema", "run the command without --fix to see the statements")
            found = guarding.mend(connection)
        found += guarding.differences(connection) if against_package else []
        failure = guarding.probe(connection, role) if probe else None
    wrong = [guard for guard in found if guard.status != "ok"]
    damage = sum(guard.damage for guard in wrong)
    if form == "table":
        for guard in [guard for guard in wrong if guard.status == "detached"]:
            render.say(f"the layer is {guard.detail}")
        screen.show_guards([guard for guard in wrong if guard.status != "detached"], render.console())
    else:
        records.write(form, map(asdict, wrong), records.columns(guarding.Guard), sys.stdout)
    render.say(f"{len(found)} guards: {damage} damaged, {len(wrong) - damage} waiting for rows to be repaired")
    if probe:
        render.say(f"probe: an approval fails: {failure}" if failure else "probe: an approval works")
    raise typer.Exit(EXIT_DAMAGE if damage or failure else 0)
