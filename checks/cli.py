"""The command line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import psycopg
import typer

from checks import audit as auditing
from checks import law, migrate, render, repair, server
from checks.ddl import LockPolicy
from checks.errors import UserError
from checks.progress import Progress
from checks.target import Target, resolve, user_errors

EXIT_VIOLATIONS = 1
EXIT_COULD_NOT_RUN = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keeps PeerQuest's approvals and participants together, in PostgreSQL itself.",
)
server_app = typer.Typer(no_args_is_help=True, help="The embedded PostgreSQL that is used when no database is named.")
app.add_typer(server_app, name="server")

XOption = Annotated[
    list[str] | None,
    typer.Option(
        "-x",
        metavar="KEY=VALUE",
        help="As for alembic: app-schema, lock-timeout, lock-retries, backfill-batch, backfill-pause, drop-app-tables.",
    ),
]


@app.callback()
def options(
    context: typer.Context,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database to work on; else DATABASE_URL, else PGHOST/PGSERVICE/PGDATABASE, else an embedded server.",
        ),
    ] = None,
) -> None:
    """Remember which database was named; commands that need none must not touch it."""
    context.obj = database_url


def _target(context: typer.Context) -> Target:
    target = resolve(context.obj)
    render.say(target.describe())
    return target


@contextmanager
def _connection(context: typer.Context, migrated: bool = True) -> Iterator[psycopg.Connection[Any]]:
    with _target(context).connect(autocommit=True) as connection:
        if migrated:
            migrate.require_current(connection)
        yield connection


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
    with _connection(context) as connection:
        scope = auditing.Scope(
            auditing.find_user(connection, user) if user is not None else None,
            auditing.require_quest(connection, quest) if quest is not None else None,
            auditing.require_rules(connection, rule or []),
        )
        report = _audit(connection, scope, detailed)
        if fix_issues:
            chosen = repair.Options(scope, missing_participant, batch_size, limit, reason)
            report = _repair(connection, chosen, report, dry_run, yes)
        else:
            _advise(report)
    raise typer.Exit(0 if report.clean else EXIT_VIOLATIONS)


def _audit(connection: psycopg.Connection[Any], scope: auditing.Scope, detailed: bool) -> auditing.Report:
    out = render.console()
    with auditing.one_snapshot(connection):
        report = auditing.report(connection, scope)
        render.show_report(report, out)
        if detailed:
            render.show_violations(auditing.violations(connection, scope), out)
    return report


def _advise(report: auditing.Report) -> None:
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
    before: auditing.Report,
    dry_run: bool,
    yes: bool,
) -> auditing.Report:
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


def _confirmed(report: auditing.Report) -> bool:
    if not sys.stdin.isatty():
        raise UserError("--fix-issues changes rows and nobody can be asked here: add --yes, or preview with --dry-run")
    return typer.confirm(f"Repair {report.violations('error')} violations?", err=True)


@app.command()
def validate(context: typer.Context) -> None:
    """Enforce the law on old rows too: build keys that had to wait, validate constraints. Run it again at will.

    Exit code 0: everything is enforced; 1: something still cannot be; 2: could not run.

    Example: quest-integrity validate
    """
    with _connection(context) as connection:
        remaining = law.advance(connection, LockPolicy())
        if remaining:
            render.show_unenforced(remaining, render.console())
            render.say(
                f"{len(remaining)} constraints are not enforced on old rows: repair the rules named above "
                "(`quest-integrity audit --detailed`), then run `quest-integrity validate` again"
            )
            raise typer.Exit(EXIT_VIOLATIONS)
        render.say("every constraint of the law is enforced")


@app.command()
def upgrade(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="Where to stop.")] = "head",
    x: XOption = None,
) -> None:
    """Attach the integrity layer, or bring it up to date, as `alembic upgrade` does.

    Example: quest-integrity upgrade -x lock-timeout=1s
    """
    migrate.upgrade(_target(context), revision, x or ())


@app.command()
def downgrade(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="Where to stop; base removes everything of ours.")],
    x: XOption = None,
) -> None:
    """Take the integrity layer away again, as `alembic downgrade` does. The app's rows stay.

    Example: quest-integrity downgrade base
    """
    migrate.downgrade(_target(context), revision, x or ())


@app.command()
def demo() -> None:
    """Replay the incident on a throw-away PostgreSQL: detect it, repair it, and fail to bring it back.

    Example: quest-integrity demo
    """
    # Only the demo needs it; every other command starts faster without.
    from checks.demo import run

    run()


@server_app.command("start")
def server_start() -> None:
    """Start the embedded server, unless it runs.

    Example: quest-integrity server start
    """
    running = server.persistent()
    running.start()
    typer.echo(running.url)


@server_app.command("stop")
def server_stop() -> None:
    """Stop the embedded server; its data stays.

    Example: quest-integrity server stop
    """
    stopped = server.persistent().stop()
    render.say("stopped" if stopped else "it was not running")


@server_app.command("status")
def server_status() -> None:
    """Say whether the embedded server runs (exit code 0) or not (1).

    Example: quest-integrity server status
    """
    running = server.persistent().running()
    typer.echo("running" if running else "stopped")
    raise typer.Exit(0 if running else 1)


@server_app.command("url")
def server_url() -> None:
    """Print the embedded server's URL.

    Example: psql "$(quest-integrity server url)"
    """
    running = server.persistent()
    if not running.running():
        raise UserError("the embedded server does not run: start it with `quest-integrity server start`")
    typer.echo(running.url)


def main() -> None:
    """Run the command line; what goes wrong is told in one sentence, with exit code 2."""
    try:
        with user_errors():
            app()
    except UserError as error:
        render.say(f"error: {error}")
        raise SystemExit(EXIT_COULD_NOT_RUN) from None
