"""quest-integrity repairs and undo."""

from typing import Annotated

import typer

from checks.commands import EXIT_VIOLATIONS, app, connected


@app.command()
def repairs(context: typer.Context) -> None:
    """List the repairs and undos of a database, oldest first.

    Example: quest-integrity repairs
    """
    from checks import render, repair

    with connected(context) as connection:
        render.show_runs(repair.runs(connection), render.console())


@app.command()
def undo(
    context: typer.Context,
    run: Annotated[int, typer.Argument(metavar="RUN", help="As `quest-integrity repairs` lists it.")],
    reason: Annotated[str | None, typer.Option(help="Why; kept with the undo.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Quests per transaction.")] = 500,
) -> None:
    """Take a repair back.

    Restores the rows that nobody has changed since, as far as the law allows.

    Exit code 0: all restored; 1: some rows were changed since, or the law refused; 2: could not run.

    Example: quest-integrity undo 3 --reason "wrong quest"
    """
    from checks import render, repair
    from checks.progress import Progress

    with connected(context, attached=True) as connection:
        with Progress() as progress:
            result = repair.undo(connection, run, reason, batch_size, lambda done, of: progress.at("undo", done, of))
        out = render.console()
        render.show_changes(repair.changes(connection, result.run), out)
        render.show_outcomes(result.outcomes, out)
        render.show_left(result.left, out)
    if result.interrupted:
        handled, planned = result.items() - result.items("to do"), result.items()
        render.say(f"interrupted after a whole batch, {handled:,} of {planned:,} quests: undo {run} again for the rest")
    if result.items("undone") < result.items():
        raise typer.Exit(EXIT_VIOLATIONS)
