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
        help="Option of the migrations, such as lock-timeout=1s; repeatable. An unknown KEY prints which there are.",
    ),
]


@app.command()
def upgrade(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="Where to stop.", autocompletion=completion.revisions)] = "head",
    x: XOption = None,
) -> None:
    """Install the integrity layer, or upgrade it.

    The same as `alembic upgrade`.

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
    """Remove the integrity layer, or a part of it.

    The same as `alembic downgrade`. The app's rows stay. Events, repairs and recorded audits are dropped only with
    `-x drop-records=true`.

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
