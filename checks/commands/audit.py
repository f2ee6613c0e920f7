"""quest-integrity audit and validate."""

import sys
from typing import Annotated, Any, Literal

import psycopg
import typer

from checks import law, render, repair, violations
from checks.commands import EXIT_VIOLATIONS, app, connected
from checks.ddl import LockPolicy
from checks.errors import UserError
from checks.progress import Progress


@app.command()
def audit(
    context: typer.Context,
    detailed: Annotated[bool, typer.Option("--detailed", help="List every violation.")] = False,
    user: Annotated[str | None, typer.Option(metavar="USERNAME", help="Only what concerns this user.")] = None,
    quest: Annotated[int | None, typer.Option(metavar="ID", help="Only this quest.")] = None,
    rule: Annotated[list[str] | None, typer.Option(metavar="RULE", help="Only this rule; repeatable.")] = None,
    fix_issues: Annotated[bool, typer.Option("--fix-issues", help="Repair what has a repair.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix-issues: show it, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    missing_participant: Annotated[
        Literal["create", "revoke"],
        typer.Option(help="What to do for an approval without a participant row: create it, or revoke the approval."),
    ] = "create",
    limit: Annotated[int | None, typer.Option(min=1, help="Repair at most so many violations.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Violations per transaction.")] = 500,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the repair run.")] = None,
) -> None:
    """Look for violations of the rules, and repair them with --fix-issues.

    Exit code 0: no violation of severity error; 1: there are some left; 2: could not run.

    Example: quest-integrity audit --fix-issues --dry-run
    """
    if dry_run and not fix_issues:
        raise UserError("--dry-run shows what a repair would do: use it together with --fix-issues")
    with connected(context) as connection:
        scope = violations.Scope(
            violations.find_user(connection, user) if user is not None else None,
            violations.require_quest(connection, quest) if quest is not None else None,
            violations.require_rules(connection, rule or []),
        )
        report = _audit(connection, scope, detailed)
        if fix_issues:
            chosen = repair.Options(scope, missing_participant, batch_size, limit, reason)
            report = _repair(connection, chosen, report, dry_run, yes)
        else:
            _advise(report)
    raise typer.Exit(0 if report.clean else EXIT_VIOLATIONS)


def _audit(connection: psycopg.Connection[Any], scope: violations.Scope, detailed: bool) -> violations.Report:
    out = render.console()
    with violations.one_snapshot(connection):
        report = violations.report(connection, scope)
        render.show_report(report, out)
        if detailed:
            render.show_violations(violations.read(connection, scope), out)
    return report


def _advise(report: violations.Report) -> None:
    if report.clean:
        render.say(f"clean: no violation of severity error ({report.violations('warning')} warnings)")
    else:
        render.say(
            f"{report.violations('error')} violations of severity error; see each with --detailed, "
            "preview a repair with --fix-issues --dry-run"
        )


def _repair(
    connection: psycopg.Connection[Any],
    options: repair.Options,
    before: violations.Report,
    dry_run: bool,
    yes: bool,
) -> violations.Report:
    out = render.console()
    if not dry_run and not yes and before.violations("error") and not _confirmed(before):
        raise UserError("nothing was repaired")
    with Progress() as progress:

        def show(done: int, planned: int) -> None:
            progress.at("repair", done, planned)

        if dry_run:
            result, changes = repair.preview(connection, options, show)
            render.show_changes(changes, out)
        else:
            result = repair.apply(connection, options, show)
    render.show_outcomes(result.outcomes, out)
    if dry_run:
        render.say("dry run: rolled back, nothing was changed")
        return before
    if result.interrupted:
        render.say(f"interrupted after a whole batch of repair run {result.run}; run it again for the rest")
    after = _audit(connection, options.scope, detailed=False)
    render.say(
        f"repair run {result.run}: {before.violations('error')} violations of severity error before, "
        f"{after.violations('error')} remain"
    )
    if after.clean:
        render.say("next: `quest-integrity validate` enforces the law on old rows as well")
    return after


def _confirmed(report: violations.Report) -> bool:
    if not sys.stdin.isatty():
        raise UserError("--fix-issues changes rows and nobody can be asked here: add --yes, or preview with --dry-run")
    return typer.confirm(f"Repair {report.violations('error')} violations?", err=True)


@app.command()
def validate(context: typer.Context) -> None:
    """Enforce the law on old rows too: build keys that had to wait, validate constraints. Run it again at will.

    Exit code 0: everything is enforced; 1: something still cannot be; 2: could not run.

    Example: quest-integrity validate
    """
    with connected(context) as connection:
        remaining = law.advance(connection, LockPolicy())
        if remaining:
            render.show_unenforced(remaining, render.console())
            render.say(
                f"{len(remaining)} constraints are not enforced on old rows: repair the rules named above "
                "(`quest-integrity audit --detailed`), then run `quest-integrity validate` again"
            )
            raise typer.Exit(EXIT_VIOLATIONS)
        render.say("every constraint of the law is enforced")
