"""quest-integrity repairs and undo."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from checks.commands import EXIT_VIOLATIONS, FormatOption, app, completion, connected


@app.command()
def repairs(context: typer.Context, form: FormatOption = "table") -> None:
    """List the repairs and undos of a database, oldest first.

    Example: quest-integrity repairs
    """
    from checks import records, render, repair
    from checks.screens import changes

    with connected(context) as connection:
        runs = repair.runs(connection)
    if form == "table":
        changes.show_runs(runs, render.console())
    else:
        records.write(form, map(asdict, runs), records.columns(repair.Run), sys.stdout)
    if not runs:
        render.say("nothing was repaired here: `quest-integrity audit --fix-issues --dry-run` previews a repair")


@app.command()
def undo(
    context: typer.Context,
    run: Annotated[
        int,
        typer.Argument(metavar="RUN", help="As `quest-integrity repairs` lists it.", autocompletion=completion.runs),
    ],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the undo.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Quests per transaction.")] = 500,
) -> None:
    """Undo a repair.

    Restores the rows that nobody has changed since, as far as the constraints allow.

    Exit code 0: all restored; 1: some rows were changed since, or refused; 2: could not run.

    Example: quest-integrity undo 3 --reason "wrong quest"
    """
    from checks import render, repair
    from checks.people import People
    from checks.progress import Progress
    from checks.screens import changes

    with connected(context, attached=True) as connection:
        with Progress() as progress:
            result = repair.undo(connection, run, reason, batch_size, lambda done, of: progress.at("undo", done, of))
        out = render.console()
        rows = repair.changes(connection, result.run, by_quest=out.is_terminal)
        changes.show_changes(rows, People(connection), out)
        changes.show_outcomes(result.outcomes, out)
        changes.show_left(result.left, out)
    if not result.outcomes:
        render.say(f"nothing to undo: run {run} changed no row")
    if result.interrupted:
        handled, planned = result.items() - result.items("to do"), result.items()
        render.say(f"interrupted after a whole batch, {handled:,} of {planned:,} quests: undo {run} again for the rest")
    if result.items("undone") < result.items():
        raise typer.Exit(EXIT_VIOLATIONS)
