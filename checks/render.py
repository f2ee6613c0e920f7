"""How text is laid out for people: folded to a terminal's width, plain and one record a line when piped.

What can be typed or copied is `Whole` and never broken; prose breaks at blanks. The screens are in `checks.screens`.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TextIO, TypeVar

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

PLAIN_WIDTH = 1000
# What moves a terminal's cursor, and what turns the direction of the text around it.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COMMAND = re.compile("(`[^`]*`)")
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
MENTION = re.compile(rf"\b(?:quest|application|participant) \d+\b|{UUID.pattern}")
# These many rows are laid out, and their people looked up, at once.
ROWS_AT_ONCE = 200
NUMERIC = {"violations", "quests", "users", "items", "changed rows", "rows"} | {
    *("seconds", "errors", "warnings", "new", "fixed", "guard damage")
}
STYLES = {"error": "bold red", "warning": "yellow", "off": "dim"}
GAP = "  "

Item = TypeVar("Item")


class Whole(NamedTuple):
    """Text that is not broken across lines unless it is longer than one."""

    text: str
    style: str = ""


class Prose(NamedTuple):
    """Text that may be broken at its blanks."""

    text: str
    style: str = ""


Part = str | Prose | Whole
"""A string is prose without a style."""


class _Console(Console):
    def __init__(self, **options: Any) -> None:
        # What users wrote is shown as they wrote it: "[b]" is no markup and ":heart:" no emoji.
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        # Rich would exit with 1, which says that there are violations.
        raise BrokenPipeError


def console(out: TextIO | None = None) -> Console:
    """Return the console of standard output or a file; wide when it is no terminal, so that no value is cut."""
    terminal = _Console(file=out)
    return terminal if terminal.is_terminal else _Console(file=out, width=PLAIN_WIDTH, soft_wrap=True)


def screen(width: int) -> Console:
    """Return the console of standard output as a terminal; where it is none, so many cells wide and without styles."""
    terminal = _Console()
    return terminal if terminal.is_terminal else _Console(force_terminal=True, width=width, color_system=None)


def say(message: str) -> None:
    """Print a message for people to stderr; what stands in backticks stays on one line."""
    on = _Console(stderr=True)
    for line in message.split("\n"):
        put(on, *(Whole(part) if part.startswith("`") else part for part in COMMAND.split(line)))


def put(on: Console, *parts: Part, indent: int = 0, hang: int | None = None) -> None:
    """Print parts as one line when piped, in a terminal as many as they need.

    Args:
        on: where to.
        parts: what; nothing is put between them.
        indent: blanks before the first line.
        hang: blanks before the others; as before the first when None.
    """
    if on.is_terminal:
        for line in fold(parts, on.width, indent, indent if hang is None else hang):
            on.print(line, soft_wrap=True)
    else:
        # Past rich, which takes several times as long for a line without styles.
        texts = (printable(part if isinstance(part, str) else part.text) for part in parts)
        on.file.write(f"{' ' * indent}{''.join(texts)}\n")


def heading(on: Console, text: str) -> None:
    """Print a heading, with an empty line before it."""
    on.print()
    put(on, Prose(text, "bold underline"))


def statement(on: Console, text: str) -> None:
    """Print SQL: its lines as they are where they fit, else broken at blanks, where psql reads on."""
    for line in text.splitlines():
        kind = Whole if cell_len(line) <= on.width or not on.is_terminal else Prose
        put(on, kind(line, "cyan"))


def fold(parts: Iterable[Part], width: int, indent: int = 0, hang: int = 0) -> Iterator[Text]:
    """Yield lines of at most `width` cells.

    Args:
        parts: what to lay out.
        width: of the terminal.
        indent: blanks before the first line; text that would not fit behind them begins at the margin.
        hang: blanks before the others.
    """
    line, is_empty, margin = Text(" " * indent), True, indent
    style: str | Style = ""
    waiting = deque((held, False) for held in _held_together(parts))
    while waiting:
        held, is_glued = waiting.popleft()
        size = sum(part.cell_len for part in held)
        gap = 0 if is_glued or is_empty else 1
        if line.cell_len + gap + size <= width:
            # Between two words of one style the blank has it too: it may be underlined.
            line.append(" " * gap, style if held and held[0].style == style else "").append_text(Text().join(held))
            is_empty, style = is_empty and not held, held[-1].style if held else ""
        elif not is_empty:
            line.rstrip()
            yield line
            line, is_empty, margin = Text(" " * hang), True, hang
            waiting.appendleft((held, is_glued))
        elif margin:
            line, margin = Text(), 0
            waiting.appendleft((held, is_glued))
        elif len(held) > 1:
            waiting.extendleft(reversed([([part], True) for part in held]))
        else:
            *full, rest = chop_cells(held[0].plain, width)
            yield from (Text(piece, held[0].style) for piece in full)
            line, is_empty = Text(rest, held[0].style), False
    yield line


def _held_together(parts: Iterable[Part]) -> Iterator[list[Text]]:
    """Yield what no blank separates, which is nothing where a blank follows a blank."""
    held: list[Text] = []
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else (part.text, part.style)
        words = [printable(text)] if isinstance(part, Whole) else printable(text).split(" ")
        for position, word in enumerate(words):
            if position:
                yield held
                held = []
            if word:
                held.append(Text(word, style))
    yield held


def printable(text: str) -> str:
    """Return the text with its control characters written out: a title must not command a terminal."""
    return CONTROL.sub(lambda found: f"{found[0]!a}"[1:-1], text)


def shown(value: object) -> str:
    """Return a value as a cell; nothing for None."""
    return "" if value is None else str(value)


def time(at: Any) -> str:
    """Return a time to the second, with its offset."""
    return f"{at:%Y-%m-%d %H:%M:%S %z}"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return '1 quest' or '1,234 quests'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def mentions(text: str, names: Mapping[str, str], style: str = "") -> list[Part]:
    """Return a text as parts, with the names of the people whose ids it mentions; 'quest 5' is whole."""
    parts: list[Part] = []
    end = 0
    for found in MENTION.finditer(text):
        parts += [Prose(text[end : found.start()], style), Whole(names.get(found[0], found[0]), style)]
        end = found.end()
    return [*parts, Prose(text[end:], style)]


def in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield the items, so many at once that memory stays bounded."""
    left = iter(items)
    while some := list(islice(left, ROWS_AT_ONCE)):
        yield some


class Listing:
    """Rows under headings, which rich prints in aligned columns, or in a terminal too narrow for them as records.

    Args:
        headings: One for each column; the first names the record.
        prose: Headings of columns that may be broken at blanks.
    """

    def __init__(self, *headings: str, prose: Sequence[str] = ()) -> None:
        """Start without rows."""
        self._headings = headings
        self._prose = prose
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a row; control characters, such as a terminal's, are written out."""
        styled = ((cell.plain, cell.style) if isinstance(cell, Text) else (cell, "") for cell in cells)
        self._rows.append([Text(printable(value), style) for value, style in styled])

    def __rich_console__(self, on: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what rich is to print."""
        if not on.is_terminal:
            yield from self._aligned()
        elif sum(self._widths()) + len(GAP) * (len(self._headings) - 1) <= options.max_width:
            yield from self._styled()
        else:
            yield from self._records(options.max_width)

    def _widths(self) -> list[int]:
        lines = [list(self._headings), *([cell.plain for cell in row] for row in self._rows)]
        return [max(map(cell_len, column)) for column in zip(*lines, strict=True)]

    def _aligned(self) -> Iterator[Segment]:
        """Yield a line for each row; rich's own layout of so many cells takes longer than a repair of the rows."""
        widths = self._widths()
        for line in [list(self._headings), *([cell.plain for cell in row] for row in self._rows)]:
            cells = []
            for heading, cell, width in zip(self._headings, line, widths, strict=True):
                fill = " " * (width - cell_len(cell))
                cells.append(fill + cell if heading in NUMERIC else cell + fill)
            yield Segment(GAP.join(cells).rstrip() + "\n")

    def _styled(self) -> Iterator[Text]:
        """Yield the same lines with their styles."""
        widths = self._widths()
        for row in [[Text(heading, "bold") for heading in self._headings], *self._rows]:
            line = Text(no_wrap=True, overflow="ignore")
            for heading, cell, width in zip(self._headings, row, widths, strict=True):
                fill = " " * (width - cell.cell_len)
                line.append_text(Text(fill) + cell if heading in NUMERIC else cell + Text(fill)).append(GAP)
            line.rstrip()
            yield line

    def _records(self, width: int) -> Iterator[Text]:
        """Yield a block for each row: the first cell, then below it a line for each other that is not empty."""
        label = max(map(cell_len, self._headings[1:]), default=0) + 2 * len(GAP)
        for row in self._rows:
            yield from fold([f"{self._headings[0]} ", Whole(row[0].plain, str(row[0].style) or "bold")], width)
            for heading, cell in zip(self._headings[1:], row[1:], strict=True):
                kind = Prose if heading in self._prose else Whole
                if cell.plain:
                    name = Whole(heading.ljust(label - 2 * len(GAP)), "dim")
                    yield from fold([name, GAP, kind(cell.plain, str(cell.style))], width, len(GAP), label)
