"""quest-integrity audit and validate."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from checks.commands import EXIT_VIOLATIONS, app, completion, connected, severities, writing
from checks.errors import UserError


@app.command()
def audit(
    context: typer.Context,
    detailed: Annotated[bool, typer.Option("--detailed", help="List every violation, by quest.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List the rules without violations too.")] = False,
    user: Annotated[str | None, typer.Option(metavar="USERNAME", help="Only what concerns this user.")] = None,
    quest: Annotated[int | None, typer.Option(metavar="ID", help="Only this quest.")] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Only this rule; repeatable.", autocompletion=completion.rules),
    ] = None,
    fix_issues: Annotated[bool, typer.Option("--fix-issues", help="Repair what has a repair.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix-issues: show it, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    missing_participant: Annotated[
        Literal["create", "revoke"] | None,
        typer.Option(help="Approval without a participant: create the participant, or revoke the approval."),
    ] = None,
    unapproved: Annotated[
        Literal["approve", "drop"] | None,
        typer.Option(help="Participant without an approval: approve an application, or drop the participant."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Repair at most N violations.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Violations per transaction.")] = 500,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the repair.")] = None,
    form: Annotated[
        Literal["table", "json", "ndjson", "csv", "junit", "github"],
        typer.Option("--format", help="Print in this format; all but table list every violation."),
    ] = "table",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to FILE instead of stdout.")] = None,
    fail_on: Annotated[
        Literal["error", "warning", "never"], typer.Option(help="Exit with 1 from this severity on.")
    ] = "error",
    record: Annotated[bool, typer.Option("--record", help="Keep the result for `quest-integrity history`.")] = False,
) -> None:
    """Look for violations, and repair them with --fix-issues.

    Exit code 0: no violations; 1: violations, see --fail-on; 2: could not run; 3: objects of the layer are damaged,
    see `quest-integrity guards`.

    Example: quest-integrity audit --fix-issues --dry-run
    """
    from checks import formats, history, render, repair, undecided, violations
    from checks.commands import auditing

    if dry_run and not fix_issues:
        raise UserError("--dry-run shows what a repair would do: use it together with --fix-issues")
    if (unapproved is not None) != (fix_issues and rule == [undecided.UNAPPROVED]):
        answers = " or ".join(f"{answer} ({effect})" for answer, effect in undecided.ANSWERS.items())
        raise UserError(
            "participants without an approval are repaired on request only, since people may join directly: use "
            f"--fix-issues --rule {undecided.UNAPPROVED} --unapproved {answers}"
        )
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
        on = render.console(out)
        is_screen = form == "table" and on.is_terminal
        repaired = None
        if fix_issues:
            chosen = repair.Options(scope, missing_participant, batch_size, limit, reason, unapproved)
            repaired = auditing.ask_and_repair(connection, chosen, kept, dry_run=dry_run, yes=yes, by_quest=is_screen)
        if record:
            history.record(connection)
        with violations.one_snapshot(connection):
            report = auditing.counted(connection, scope)
            if form == "table":
                options = auditing.options_of(user, quest)
                auditing.show(
                    connection, scope, report, repaired, on, options, everything=everything, detailed=detailed
                )
            else:
                result, changes = repaired or (None, ())
                with auditing.followed(connection, scope, report, on) as found:
                    name = str(connection.info.dbname)
                    document = formats.Document(
                        name, scope, report, found, fail_on, result, dry_run, changes, tuple(damage)
                    )
                    formats.write(form, document, out)
        auditing.advise(report, repaired[0] if repaired else None, dry_run=dry_run, answered=is_screen)
    raise typer.Exit(0 if report.passes(fail_on) else EXIT_VIOLATIONS)


@app.command()
def validate(context: typer.Context) -> None:
    """Validate the constraints on old rows.

    Builds the keys that had to wait for a repair, and validates the constraints. Can be run at any time.

    Exit code 0: every constraint is enforced; 1: some are not; 2: could not run.

    Example: quest-integrity validate
    """
    from checks import guards, render
    from checks.progress import Progress
    from checks.screens.guards import show_unenforced

    with connected(context) as connection:
        with Progress() as progress:
            remaining = guards.enforce(connection, show=lambda done, of: progress.at("validate", done, of))
        if remaining:
            show_unenforced(remaining, render.console())
            render.say(
                f"not enforced on old rows: {render.count(len(remaining), 'constraint')}. Repair the rules named above "
                "(`quest-integrity audit --detailed`), then run `quest-integrity validate` again."
            )
            raise typer.Exit(EXIT_VIOLATIONS)
        render.say("every constraint of the law is enforced")
