"""quest-integrity detach, attach and around."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from checks.commands import app, connected, target_of
from checks.errors import UserError

if TYPE_CHECKING:
    import psycopg


@app.command()
def detach(context: typer.Context) -> None:
    """Drop views and triggers, so that the app can migrate.

    Those keep its columns from changing. The law stays: until `attach`, what needs a trigger is refused by a
    constraint.

    Exit code 0: the layer is detached; 2: it could not be.

    Example: quest-integrity detach
    """
    from checks import attachment, render

    with connected(context, migrated=False) as connection:
        dropped = attachment.detach(connection)
    render.say(
        f"detached: {dropped} views and triggers are gone; migrate the app, then {attachment.ATTACH}"
        if dropped
        else f"the layer was detached already; migrate the app, then {attachment.ATTACH}"
    )


@app.command()
def attach(context: typer.Context) -> None:
    """Put back what `detach` dropped, if the app's tables still fit.

    Ends with the summary of an audit.

    Exit code 0: the layer is attached; 2: could not run; 3: the tables do not fit, it stays detached.

    Example: quest-integrity attach
    """
    from checks import attachment, render

    with connected(context, migrated=False) as connection:
        done = attachment.attach(connection)
        render.say("attached: the views and triggers are back" if done else "the layer was attached already")
        _summarize(connection)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def around(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND …", help="What to run while the layer is detached.")
    ] = None,
) -> None:
    """Run a command while the layer is detached.

    Attaches it again, also when the command fails or is interrupted.

    Exit code: the command's; 2: could not detach, it was not run; 3: could not attach.

    Example: quest-integrity around -- python manage.py migrate
    """
    from checks import around as running
    from checks.target import user_errors

    if not command:
        raise UserError("around needs a command: `quest-integrity around -- python manage.py migrate`")
    target = target_of(context)
    code = running.run(target, command)
    # Whatever becomes of the summary, the code says what became of the command.
    with suppress(UserError), user_errors(), target.connect(autocommit=True) as connection:
        _summarize(connection)
    raise typer.Exit(code)


def _summarize(connection: "psycopg.Connection[Any]") -> None:
    from checks import guards, migrate, render, violations
    from checks.commands import auditing

    if migrate.current_revision(connection) != migrate.head_revision():
        render.say("audit it after `quest-integrity upgrade`: the database is at an older revision")
        return
    auditing.advise(violations.report(connection, violations.EVERYTHING), None, dry_run=False, answered=False)
    if damage := len(guards.damaged(connection)):
        render.say(f"damage: the layer is not as it should be in {damage} places, see `quest-integrity guards`")
