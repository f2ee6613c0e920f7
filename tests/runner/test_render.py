"""What people see of what users wrote, in a terminal and piped."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from checks import render
from checks.repair import Change

TITLE = "[/b] [red]sale[/red] :heart:"


_Where = Callable[[], tuple[Console, io.StringIO]]


def _terminal() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return render._Console(file=out, force_terminal=True, color_system=None, width=100), out


def _piped() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return render.console(out), out


@pytest.mark.parametrize("where", [_terminal, _piped])
def test_what_looks_like_markup_is_shown_as_it_is(where: _Where) -> None:
    on, out = where()
    render.show_rows([("public.quests_quest", {"id": 1}, {"title": TITLE})], on)
    assert TITLE in out.getvalue()


@pytest.mark.parametrize("where", [_terminal, _piped])
def test_control_characters_are_written_out(where: _Where) -> None:
    """A title that clears the screen, or a line break in a table of one line a row."""
    on, out = where()
    render.show_rows([("public.quests_quest", {"id": 1}, {"title": "a\x1b[2Jb\nc\x9bd"})], on)
    assert "\x1b[2J" not in out.getvalue()
    assert r"a\x1b[2Jb\nc\x9bd" in out.getvalue()


def test_piped_columns_are_aligned() -> None:
    """Numbers to the right, wide characters by their width, no blanks at the end of a line."""
    on, out = _piped()
    listing = render.Listing("rule", "violations", "meaning", title="above")
    listing.add_row("日本", "7", "x")
    listing.add_row("a", "1,000,000", "")
    on.print(listing)
    assert out.getvalue() == ("above\nrule  violations  meaning\n日本           7  x\na      1,000,000\n")


def test_many_piped_changes_are_one_line_a_column() -> None:
    on, out = _piped()
    changed = [
        Change("public.quests_quest", {"id": number}, {"status": "open"}, {"status": "assigned"}, ["some_rule"])
        for number in range(render.CHANGES_AT_ONCE + 1)
    ]
    render.show_changes(changed, on)
    lines = out.getvalue().splitlines()
    headings = [line for line in lines if line.startswith("table")]
    assert (len(lines), len(headings)) == (render.CHANGES_AT_ONCE + 3, 2)
