"""quest-integrity server and demo: the embedded PostgreSQL."""

import typer

from checks.commands import app
from checks.errors import UserError

server_app = typer.Typer(no_args_is_help=True, help="Start or stop the embedded PostgreSQL.")
app.add_typer(server_app, name="server")


@app.command()
def demo() -> None:
    """Replay the incident on a throw-away PostgreSQL.

    Detects it, repairs it, and tries to cause it again in six ways.

    Example: quest-integrity demo
    """
    from checks.demo import run

    run()


@server_app.command("start")
def server_start() -> None:
    """Start the embedded server if it does not run.

    Example: quest-integrity server start
    """
    from checks import server

    running = server.persistent()
    running.start()
    typer.echo(running.url)


@server_app.command("stop")
def server_stop() -> None:
    """Stop the embedded server; its data stays.

    Example: quest-integrity server stop
    """
    from checks import render, server

    stopped = server.persistent().stop()
    render.say("stopped" if stopped else "it was not running")


@server_app.command("status")
def server_status() -> None:
    """Print whether the embedded server runs; exit code 0 or 1.

    Example: quest-integrity server status
    """
    from checks import server

    running = server.persistent().running()
    typer.echo("running" if running else "stopped")
    raise typer.Exit(0 if running else 1)


@server_app.command("url")
def server_url() -> None:
    """Print the embedded server's URL.

    Example: psql "$(quest-integrity server url)"
    """
    from checks import server

    running = server.persistent()
    if not running.running():
        raise UserError("the embedded server does not run: start it with `quest-integrity server start`")
    typer.echo(running.url)
