"""Progress: a bar in a terminal after a second, plain lines elsewhere."""

import io
import time

import pytest
from rich.console import Console

from checks import progress
from checks.progress import Progress


class TestInATerminal:
    @pytest.fixture
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
        out = io.StringIO()
        monkeypatch.setattr(progress, "Console", lambda **_: Console(file=out, force_terminal=True, width=80))
        return out

    def test_a_bar_after_the_first_second(self, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also when the step has said nothing since it began."""
        monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
        with Progress() as shown:
            shown.at("repair", 3, 10)
            time.sleep(0.5)
        assert "repair" in terminal.getvalue()
        assert "3/10" in terminal.getvalue()

    def test_nothing_of_what_takes_less(self, terminal: io.StringIO) -> None:
        with Progress() as shown:
            shown.at("repair", 3, 10)
            shown.at("repair", 10, 10)
        assert terminal.getvalue() == ""


def test_plain_lines_only_of_what_takes_long(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress() as shown:
        assert list(shown.followed("rows", range(1_000), 1_000)) == list(range(1_000))
        shown.at("rows", 1_000, 1_000)
    assert capfd.readouterr().err == ""
    with Progress() as shown:
        shown._began -= 2
        shown.at("rows", 1_000, 1_000)
    assert capfd.readouterr().err == "rows: 1,000 of 1,000\n"
