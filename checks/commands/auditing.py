"""The steps of quest-integrity audit: guards, repair, what is shown, advice."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import typer
from psycopg import errors
from rich.console import Console

from checks import guards, render, repair, violations
from checks.commands import EXIT_DAMAGE, confirm
from checks.progress import Progress


@contextmanager
def guarded(connection: psycopg.Connection[Any]) -> Iterator[list[guards.Guard]]:
    """Look at the guards first, and after the audit, as far as that succeeds, end with what they found."""
    damage = guards.damaged(connection)
    try:
        yield damage
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction) as error:
        if not damage:
            raise
        render.say(f"error: the audit could not run: {error.diag.message_primary} ({error.sqlstate})")
    if damage:
        render.say(f"damage: the layer is not as it should be in {len(damage)} places, see `quest-integrity guards`")
        raise typer.Exit(EXIT_DAMAGE)


def ask_and_repair(
    connection: psycopg.Connection[Any], options: repair.Options, kept: ExitStack, *, dry_run: bool, yes: bool
) -> tuple[repair.Result, Iterator[repair.Change]]:
    """Ask if need be, then repair, or preview it while `kept` is open; a rule whose severity is off is left alone."""
    before = violations.report(connection, options.scope)
    chosen = replace(options, scope=options.scope._replace(rules=[count.rule for count in before.counts]))
    if not dry_run and not yes and (before.repairable or not sys.stdin.isatty()):
        confirm(f"Repair {before.repairable:,} violations?", "--fix-issues changes rows", "preview with --dry-run")
    with Progress() as progress:

        def tell(done: int, planned: int) -> None:
            progress.at("repair", done, planned)

        if dry_run:
            return kept.enter_context(repair.preview(connection, chosen, tell))
        result = repair.apply(connection, chosen, tell)
    return result, repair.changes(connection, result.run)


def show(
    report: violations.Report,
    found: Iterable[violations.Violation],
    repaired: tuple[repair.Result, Iterator[repair.Change]] | None,
    on: Console,
) -> None:
    """Show what was repaired and what is found to people."""
    if repaired:
        result, changes = repaired
        render.show_changes(changes, on)
        render.show_outcomes(result.outcomes, on)
        render.show_left(result.left, on)
    render.show_report(report, on)
    render.show_violations(found, on)


def advise(report: violations.Report, repaired: repair.Result | None, dry_run: bool) -> None:
    """Say what was done and what to do next."""
    if repaired and repaired.interrupted:
        handled, planned = repaired.items() - repaired.items("to do"), repaired.items()
        render.say(f"interrupted after a whole batch, {handled:,} of {planned:,} violations: run it again for the rest")
    if dry_run:
        render.say("dry run: rolled back, nothing was changed; the violations above are still there")
        return
    if repaired and repaired.items("repaired"):
        render.say(f"repair run {repaired.run}; `quest-integrity undo {repaired.run}` takes it back")
    errors, warnings = report.violations("error"), report.violations("warning")
    if errors:
        render.say(f"{errors:,} violations of severity error; preview a repair with --fix-issues --dry-run")
    else:
        render.say(f"clean: no violation of severity error ({warnings:,} warnings)")
    if repaired and not errors:
        render.say("next: `quest-integrity validate` enforces the law on old rows as well")
