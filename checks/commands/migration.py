"""quest-integrity upgrade and downgrade."""

from typing import TYPE_CHECKING, Annotated

import typer

from checks.commands import app, completion, target_of

if TYPE_CHECKING:
    from checks.target import Target

XOption = Annotated[
    list[str] | None,
    typer.Option(
        "-x",
        metavar="KEY=VALUE",
        help="As for alembic: app-schema, lock-timeout, lock-retries, backfill-batch, backfill-pause, drop-app-tables.",
    ),
]


@app.command()
def upgrade(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="Where to stop.", autocompletion=completion.revisions)] = "head",
    x: XOption = None,
) -> None:
    """Attach the integrity layer, or bring it up to date.

    Does what `alembic upgrade` does.

    Example: quest-integrity upgrade -x lock-timeout=1s
    """
    from checks import migrate

    target = target_of(context)
    migrate.upgrade(target, revision, x or ())
    _say_where(target)


@app.command()
def downgrade(
    context: typer.Context,
    revision: Annotated[
        str,
        typer.Argument(help="Where to stop; base removes all of the layer.", autocompletion=completion.revisions),
    ],
    x: XOption = None,
) -> None:
    """Take the integrity layer away again.

    Does what `alembic downgrade` does. The app's rows stay.

    Example: quest-integrity downgrade base
    """
    from checks import migrate

    target = target_of(context)
    migrate.downgrade(target, revision, x or ())
    _say_where(target)


def _say_where(target: "Target") -> None:
    from checks import migrate, render

    with target.connect() as connection:
        revision = migrate.current_revision(connection)
    render.say(f"now at revision {revision}" if revision else "nothing of the integrity layer is left")
