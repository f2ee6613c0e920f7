"""The steps of quest-integrity audit: guards, repair, what is shown, advice."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import typer
from psycopg import errors
from rich.console import Console

from checks import guards, query, render, repair, undecided, violations
from checks.commands import EXIT_DAMAGE, choose, confirm
from checks.people import People
from checks.progress import Progress
from checks.screens import audit, changes

LAST_AUDIT = "select duration from integrity.audit_run order by id desc limit 1"
Repaired = tuple[repair.Result, Iterator[repair.Change]]


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
    connection: psycopg.Connection[Any],
    options: repair.Options,
    kept: ExitStack,
    *,
    dry_run: bool,
    yes: bool,
    by_quest: bool,
) -> Repaired:
    """Ask if need be, then repair, or preview it while `kept` is open; a rule whose severity is off is left alone.

    Args:
        connection: in autocommit mode.
        options: what to repair.
        kept: closed when the changes have been read.
        dry_run: whether to roll everything back.
        yes: whether not to ask.
        by_quest: whether the changes of a quest are to follow each other.

    Returns:
        What became of the violations, and every row that changed.

    Raises:
        UserError: the answer is no, or nobody can be asked.
    """
    before = counted(connection, options.scope)
    chosen = replace(options, scope=options.scope._replace(rules=[count.rule for count in before.counts]))
    if not dry_run and not chosen.missing_participant:
        chosen = replace(chosen, missing_participant=_decide(undecided.count(connection, chosen)))
    repairable = sum(count.violations for count in before.counts) if chosen.unapproved else before.repairable
    if not dry_run and not yes and (repairable or not sys.stdin.isatty()):
        question = f"Repair {render.count(repairable, 'violation')}?"
        confirm(question, "--fix-issues changes rows", "preview with --dry-run")
    with Progress() as progress:

        def tell(done: int, planned: int) -> None:
            progress.at("repair", done, planned)

        if dry_run:
            return kept.enter_context(repair.preview(connection, chosen, tell, by_quest=by_quest))
        result = repair.apply(connection, chosen, tell)
    return result, repair.changes(connection, result.run, by_quest=by_quest)


def counted(connection: psycopg.Connection[Any], scope: violations.Scope) -> violations.Report:
    """Return the counts; what takes long says how long the last recorded audit took."""
    last = query.value(connection, LAST_AUDIT) if scope.user is None and scope.quest is None else None
    took = f", the last one took {last.total_seconds():,.0f} s" if last is not None else ""
    with Progress() as progress:
        progress.at(f"audit{took}", 0, None)
        return violations.report(connection, scope)


@contextmanager
def followed(
    connection: psycopg.Connection[Any], scope: violations.Scope, report: violations.Report, on: Console
) -> Iterator[Iterator[violations.Violation]]:
    """Yield the violations; where they go into a file or a pipe, the terminal shows how many are written."""
    found = violations.read(connection, scope)
    if on.is_terminal:
        yield found
        return
    with Progress() as progress:
        total = sum(report.violations(severity) for severity in audit.SEVERITIES)
        yield progress.followed("violations written", found, total)


def options_of(user: str | None, quest: int | None) -> str:
    """Return what the next audit needs on its command line to look at the same rows."""
    named = f" --user {shlex.quote(user)}" if user is not None else ""
    return named if quest is None else f"{named} --quest {quest}"


def _decide(found: undecided.Undecided) -> str | None:
    """Ask what is to become of approvals whose participants were lost or have left, None when there are none."""
    if not found.unvouched:
        return None
    what = undecided.what(found.unvouched)
    means = "; ".join(f"{choice}: {effect}" for choice, effect in undecided.CHOICES.items())
    options = " or ".join(f"{choice} ({effect})" for choice, effect in undecided.CHOICES.items())
    asked = (
        f"{what}.\nOf {found.missing:,} without a participant, {means}.\n"
        "For different answers, stop and use --quest, --user or --limit."
    )
    return choose(asked, tuple(undecided.CHOICES), f"{what}; say --missing-participant {options}")


def show(
    connection: psycopg.Connection[Any],
    scope: violations.Scope,
    report: violations.Report,
    repaired: Repaired | None,
    on: Console,
    options: str,
    *,
    everything: bool,
    detailed: bool,
) -> None:
    """Show people what was repaired and what is found.

    Args:
        connection: in the transaction that the report was read in.
        scope: what was audited.
        report: the counts.
        repaired: what a repair or its preview did.
        on: where to.
        options: as `options_of` returns them.
        everything: whether to list the rules without violations too.
        detailed: whether to list every violation.
    """
    people = People(connection)
    if repaired:
        result, rows = repaired
        changes.show_changes(rows, people, on)
        changes.show_outcomes(result.outcomes, on)
        changes.show_left(result.left, on)
        if on.is_terminal:
            on.print()
    audit.show_report(report, on, options, everything=everything, detailed=detailed)
    if detailed:
        audit.show_violations(violations.read(connection, scope, by_quest=on.is_terminal), people, on)


def advise(report: violations.Report, repaired: repair.Result | None, *, dry_run: bool, answered: bool) -> None:
    """Say what was done and what to do next.

    Args:
        report: what is found now.
        repaired: what a repair or its preview did.
        dry_run: whether it was a preview.
        answered: whether the outcome stands on the screen already.
    """
    if repaired and repaired.interrupted:
        handled, planned = repaired.items() - repaired.items("to do"), repaired.items()
        done = f"{handled:,} of {planned:,} violations"
        render.say(f"interrupted after a whole batch, {done}: run the command again for the rest")
    if repaired and (left := repaired.items("undecided")):
        render.say(f"{undecided.what(left)}; decide with --missing-participant create or revoke")
    if repaired and not repaired.outcomes:
        render.say("nothing to repair: no violation that was looked at has a repair")
    elif dry_run:
        render.say("dry run: everything was rolled back, the violations are still there; repair them without --dry-run")
        return
    if repaired and repaired.items("repaired"):
        render.say(f"repair run {repaired.run}: `quest-integrity undo {repaired.run}` takes it back")
    found = report.violations("error")
    if not answered:
        render.say(audit.answer(report).text)
    if report.repairable and not repaired:
        render.say("next: `quest-integrity audit --fix-issues --dry-run` previews a repair")
    elif repaired and not found:
        render.say("next: `quest-integrity validate` enforces the constraints on old rows too")
