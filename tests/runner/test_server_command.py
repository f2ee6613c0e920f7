"""quest-integrity server and demo, as a user types them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from checks.cli import app
from checks.state import STATE_VARIABLE


@pytest.fixture
def _state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Everybody may enter, and the path is short: pytest's own is private to root.
    with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        monkeypatch.setenv(STATE_VARIABLE, os.path.join(name, "state"))
        yield
        server("stop")


def server(command: str) -> Result:
    return CliRunner().invoke(app, ["server", command])


@pytest.mark.usefixtures("_state")
def test_from_start_to_stop() -> None:
    assert (server("status").exit_code, server("status").stdout) == (1, "stopped\n")
    refused = server("url")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "start it with `quest-integrity server start`" in refused.stderr

    started = server("start")
    assert started.exit_code == 0
    assert (server("status").exit_code, server("status").stdout) == (0, "running\n")
    assert server("url").stdout == started.stdout
    with psycopg.connect(started.stdout.strip()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)

    stopped = server("stop")
    assert (stopped.exit_code, stopped.stderr) == (0, "stopped\n")
    again = server("stop")
    assert (again.exit_code, again.stderr) == (0, "it was not running\n")


def test_demo() -> None:
    ran = CliRunner().invoke(app, ["demo"])
    assert ran.exit_code == 0
    # The law refuses what caused it.
    assert "integrity_approved_application_has_participant" in ran.stdout
    assert [line for line in ran.stdout.splitlines() if len(line) > 80] == []
    assert "\x1b" not in ran.stdout
