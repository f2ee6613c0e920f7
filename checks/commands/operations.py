"""quest-integrity history, metrics and report."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from checks.commands import FormatOption, app, connected, writing


@app.command()
def history(
    context: typer.Context,
    detailed: Annotated[bool, typer.Option("--detailed", help="List the violations too: new, fixed and old.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the newest N audits.")] = None,
    keep: Annotated[str | None, typer.Option(metavar="AGE", help="First delete what is older, as '12 months'.")] = None,
    form: FormatOption = "table",
) -> None:
    """List the audits kept by `audit --record`, newest first.

    With the numbers of new, fixed and old violations in the last one.

    Example: quest-integrity history --detailed
    """
    from checks import history as recorded
    from checks import render

    with connected(context) as connection:
        if keep is not None:
            render.say(f"audits forgotten: {recorded.retain(connection, keep):,}")
        recorded.write(connection, form, limit, detailed, sys.stdout)


@app.command()
def metrics(
    context: typer.Context,
    form: Annotated[
        Literal["openmetrics", "text"], typer.Option("--format", help="text is for node_exporter's textfile collector.")
    ] = "openmetrics",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to FILE instead of stdout.")] = None,
) -> None:
    """Print metrics for Prometheus.

    Violations, guard damage, the last recorded audit, approvals, corrections.

    Example: quest-integrity metrics --format text --output quest_integrity.prom
    """
    from checks import metrics as samples

    with connected(context) as connection, writing(output) as out:
        out.write(samples.exposition(connection, form))


@app.command()
def report(
    context: typer.Context,
    html: Annotated[Path, typer.Option("--html", metavar="FILE", help="Write the page to FILE.")],
) -> None:
    """Write the state of a database as one HTML page.

    Health, violations, guards, trends, corrections, approvals, and the constraints as diagrams.

    Example: quest-integrity report --html report.html
    """
    from checks import render
    from checks import report as page

    with connected(context) as connection, writing(html) as out:
        page.write(connection, out)
    render.say(f"written: {html}; it needs no network, open it in a browser")
