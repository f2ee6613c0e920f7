"""quest-integrity guards."""

from typing import Annotated

import typer

from checks import guards as guarding
from checks import render
from checks.commands import EXIT_DAMAGE, app, connected
from checks.ddl import LockPolicy


@app.command()
def guards(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is damaged.")] = False,
    against_package: Annotated[
        bool, typer.Option("--against-package", help="Look at the manifest too: is it what this package writes?")
    ] = False,
) -> None:
    """Say whether every part of the layer is still there, as it was, and switched on.

    Exit code 0: it is; 3: something is damaged; 2: could not run.

    Example: quest-integrity guards --fix
    """
    out = render.console()
    with connected(context) as connection:
        found = guarding.mend(connection, LockPolicy()) if fix else guarding.read(connection)
        found += guarding.differences(connection) if against_package else []
    wrong = [guard for guard in found if guard.status != "ok"]
    damage = [guard for guard in wrong if guard.damage]
    if wrong:
        listing = render.table("status", "kind", "identity", "detail", on=out)
        for guard in wrong:
            listing.add_row(guard.status, guard.kind, guard.identity, guard.detail)
        out.print(listing)
    for guard in damage:
        out.print(
            f"-- {guard.kind} {guard.identity}\n{guard.mend or '-- a person decides'};\n", markup=False, highlight=False
        )
    out.print(f"{len(found)} guards: {len(damage)} damaged, {len(wrong) - len(damage)} waiting for rows to be repaired")
    raise typer.Exit(EXIT_DAMAGE if damage else 0)
