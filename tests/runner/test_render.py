"""What people see of what users wrote, in a terminal and piped."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from checks import render
from checks.people import People
from checks.repair import Change
from checks.screens import changes

TITLE = "[/b] [red]sale[/red] :heart:"


_Where = Callable[[], tuple[Console, io.StringIO]]


def _terminal() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return render._Console(file=out, force_terminal=True, color_system=None, width=100), out


def _piped() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return render.console(out), out


def listed(title: str, on: Console) -> None:
    """Print a title as prose, whole and in a table."""
    listing = render.Listing("title")
    listing.add_row(title)
    render.put(on, title, " ", render.Whole(title))
    on.print(listing)


@pytest.mark.parametrize("where", [_terminal, _piped])
def test_what_looks_like_markup_is_shown_as_it_is(where: _Where) -> None:
    on, out = where()
    listed(TITLE, on)
    assert TITLE in out.getvalue()


@pytest.mark.parametrize("where", [_terminal, _piped])
def test_control_characters_are_written_out(where: _Where) -> None:
    """A title that clears the screen, or a line break in a table of one line a row."""
    on, out = where()
    listed("a\x1b[2Jb\nc\x9bd\u202ee", on)
    assert "\x1b[2J" not in out.getvalue()
    assert r"a\x1b[2Jb\nc\x9bd\u202ee" in out.getvalue()


def test_piped_columns_are_aligned() -> None:
    """Numbers to the right, wide characters by their width, no blanks at the end of a line."""
    on, out = _piped()
    listing = render.Listing("rule", "violations", "meaning")
    listing.add_row("日本", "7", "x")
    listing.add_row("a", "1,000,000", "")
    on.print(listing)
    assert out.getvalue() == ("rule  violations  meaning\n日本           7  x\na      1,000,000\n")


def test_many_piped_changes_are_one_line_a_column() -> None:
    on, out = _piped()
    changed = [
        Change("public.quests_quest", {"id": number}, {"status": "open"}, {"status": "assigned"}, ["some_rule"])
        for number in range(render.ROWS_AT_ONCE + 1)
    ]
    changes.show_changes(changed, People(), on)
    lines = out.getvalue().splitlines()
    headings = [line for line in lines if line.startswith("table")]
    assert (len(lines), len(headings)) == (render.ROWS_AT_ONCE + 3, 2)


class TestFold:
    def lines(self, *parts: render.Part, width: int = 20, indent: int = 0, hang: int = 0) -> list[str]:
        return [line.plain for line in render.fold(parts, width, indent, hang)]

    def test_prose_breaks_at_its_blanks(self) -> None:
        assert self.lines("one two three four five six", indent=2, hang=4) == [
            "  one two three four",
            "    five six",
        ]

    def test_what_is_whole_does_not(self) -> None:
        whole = render.Whole("quest-integrity --up")
        assert self.lines("do ", whole, " now") == ["do", whole.text, "now"]

    def test_what_fits_only_at_the_margin_begins_there(self) -> None:
        assert self.lines(render.Whole("x" * 19), indent=2) == ["x" * 19]

    def test_what_is_longer_than_a_line_is_folded_and_nothing_is_lost(self) -> None:
        name = "日本" * 15
        lines = self.lines("user (", render.Whole(name), ") left", indent=2)
        assert all(render.cell_len(line) <= 20 for line in lines)
        assert "".join(lines).replace(" ", "") == f"user({name})left"

    def test_piped_it_is_one_line(self) -> None:
        on, out = _piped()
        render.put(on, "a b " * 500, render.Whole("end"), indent=2)
        assert out.getvalue() == "  " + "a b " * 500 + "end\n"

    def test_blanks_in_a_line_stay(self) -> None:
        assert self.lines("a", "  ", render.Whole("b")) == ["a  b"]


def test_a_table_too_wide_is_a_record_a_row() -> None:
    out = io.StringIO()
    on = render._Console(file=out, force_terminal=True, color_system=None, width=30)
    listing = render.Listing("rule", "state", "reason", prose=["reason"])
    listing.add_row("r" * 25, "ok", "because of this and that")
    on.print(listing)
    assert out.getvalue().splitlines() == [
        "rule " + "r" * 25,
        "  state   ok",
        "  reason  because of this and",
        "          that",
    ]
