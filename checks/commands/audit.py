"""quest-integrity audit and validate."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from checks.commands import EXIT_VIOLATIONS, app, connected, severities, writing
from checks.errors import UserError


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
    form: Annotated[
        Literal["table", "json", "ndjson", "csv", "junit", "github"],
        typer.Option("--format", help="What to print; every format but table lists every violation."),
    ] = "table",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of to stdout.")] = None,
    fail_on: Annotated[
        Literal["error", "warning", "never"], typer.Option(help="The severity from which the exit code is 1.")
    ] = "error",
    record: Annotated[bool, typer.Option("--record", help="Keep the outcome for `quest-integrity history`.")] = False,
) -> None:
    """Look for violations, and repair them with --fix-issues.

    Exit code 0: clean; 1: violations left, see --fail-on; 2: could not run; 3: `quest-integrity guards` finds damage.

    Example: quest-integrity audit --fix-issues --dry-run
    """
    from checks import formats, history, render, repair, violations
    from checks.commands import auditing

    if dry_run and not fix_issues:
        raise UserError("--dry-run shows what a repair would do: use it together with --fix-issues")
    if record and (user is not None or quest is not None or rule):
        raise UserError("--record keeps audits of everything: use it without --user, --quest and --rule")
    with (
        ExitStack() as kept,
        connected(context, attached=True) as connection,
        auditing.guarded(connection) as damage,
        writing(output) as out,
    ):
        scope = violations.Scope(
            violations.find_user(connection, user) if user is not None else None,
            violations.require_quest(connection, quest) if quest is not None else None,
            violations.require_rules(connection, rule or []),
            severities(connection),
        )
        repaired = None
        if fix_issues:
            options = repair.Options(scope, missing_participant, batch_size, limit, reason)
            repaired = auditing.ask_and_repair(connection, options, kept, dry_run=dry_run, yes=yes)
        if record:
            history.record(connection)
        with violations.one_snapshot(connection):
            report = violations.report(connection, scope)
            found = violations.read(connection, scope)
            if form == "table":
                auditing.show(report, found if detailed else (), repaired, render.console(out))
            else:
                database = str(connection.info.dbname)
                result, changes = repaired or (None, ())
                document = formats.Document(
                    database, scope, report, found, fail_on, result, dry_run, changes, tuple(damage)
                )
                formats.write(form, document, out)
        auditing.advise(report, repaired[0] if repaired else None, dry_run)
    raise typer.Exit(0 if report.passes(fail_on) else EXIT_VIOLATIONS)


@app.command()
def validate(context: typer.Context) -> None:
    """Enforce the law on old rows too; run it again at will.

    Builds keys that had to wait, and validates constraints.

    Exit code 0: everything is enforced; 1: something still cannot be; 2: could not run.

    Example: quest-integrity validate
    """
    from checks import guards, law, render
    from checks.ddl import LockPolicy

    with connected(context) as connection:
        remaining = law.advance(connection, LockPolicy())
        # Notes what is enforced from now on.
        guards.read(connection)
        if remaining:
            render.show_unenforced(remaining, render.console())
            render.say(
                f"{len(remaining)} constraints are not enforced on old rows: repair the rules named above "
                "(`quest-integrity audit --detailed`), then run `quest-integrity validate` again"
            )
            raise typer.Exit(EXIT_VIOLATIONS)
        render.say("every constraint of the law is enforced")
