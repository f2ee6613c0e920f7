"""What people see: tables in a terminal, plain aligned columns when piped."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TextIO

from rich import box
from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from checks.guards import Guard
from checks.law import Unenforced
from checks.repair import Change, Left, Outcome, Run
from checks.rules import Rule
from checks.violations import Report, Violation

PLAIN_WIDTH = 1000
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# A table is laid out in memory as a whole.
CHANGES_AT_ONCE = 200
COUNTED = {"violations", "quests", "users", "items", "changed rows"}
NUMERIC = COUNTED | {"seconds", "errors", "warnings", "new", "fixed", "guard damage"}
STYLES = {"error": "bold red", "warning": "yellow"}


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


def say(message: str) -> None:
    """Print a message for people to stderr."""
    _Console(stderr=True, soft_wrap=True).print(message)


class Listing:
    """Rows under headings, which rich prints: ruled in a terminal, plain aligned columns when piped.

    Args:
        headings: One for each column.
        title: Stands above.
    """

    def __init__(self, *headings: str, title: str | None = None) -> None:
        """Start without rows."""
        self._headings = headings
        self._title = title
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a row; control characters, such as a terminal's, are written out."""
        styled = ((cell.plain, cell.style) if isinstance(cell, Text) else (cell, "") for cell in cells)
        self._rows.append([Text(_printable(value), style) for value, style in styled])

    def __rich_console__(self, on: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what rich is to print."""
        if on.is_terminal:
            yield self._ruled()
        else:
            yield from self._aligned()

    def _ruled(self) -> Table:
        made = Table(
            title=self._title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1),
        )
        for heading in self._headings:
            made.add_column(heading, justify="right" if heading in NUMERIC else "left")
        for row in self._rows:
            made.add_row(*row)
        return made

    def _aligned(self) -> Iterator[Segment]:
        """Yield a line for each row; rich's own layout of so many cells takes longer than a repair of the rows."""
        lines = [list(self._headings), *([cell.plain for cell in row] for row in self._rows)]
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        if self._title:
            yield Segment(f"{self._title}\n")
        for line in lines:
            cells = []
            for heading, cell, width in zip(self._headings, line, widths, strict=True):
                fill = " " * (width - cell_len(cell))
                cells.append(fill + cell if heading in NUMERIC else cell + fill)
            yield Segment("  ".join(cells).rstrip() + "\n")


def show_report(report: Report, on: Console) -> None:
    """Print the counts by rule and what was looked at."""
    listing = Listing("rule", "severity", "category", "violations", "quests", "users")
    for count in report.counts:
        style = STYLES[count.severity] if count.violations else "dim"
        listing.add_row(
            count.rule,
            Text(count.severity, style),
            count.category,
            Text(str(count.violations), style),
            str(count.quests),
            str(count.users),
        )
    on.print(listing)
    totals = report.totals
    on.print(
        f"audited: {totals.users:,} users, {totals.quests:,} quests, {totals.applications:,} applications, "
        f"{totals.participants:,} participants",
    )


def show_violations(violations: Iterable[Violation], on: Console) -> None:
    """Print one line per violation, as they come."""
    for violation in violations:
        on.print(
            Text.assemble(
                (violation.severity, STYLES[violation.severity]),
                f"  {_printable(violation.message)}",
                (f"  [{_printable(violation.key)}; repair: {violation.repair or 'a person decides'}]", "dim"),
            )
        )


def show_outcomes(outcomes: Iterable[Outcome], on: Console) -> None:
    """Print what became of the planned items of a run."""
    listing = Listing("rule", "outcome", "items", "refused by")
    for outcome in outcomes:
        listing.add_row(outcome.rule, outcome.outcome, str(outcome.items), outcome.refused_by or "")
    on.print(listing)


def show_left(left: Iterable[Left], on: Console) -> None:
    """Print one line for each violation or quest that a run left as it is, and why."""
    for item in left:
        why = "by" if item.outcome == "refused" else "not as before:"
        on.print(
            Text.assemble(
                (item.outcome, STYLES["warning"]),
                f"  {item.key or f'quest {item.quest_id}'}  ",
                (f"{why} {item.detail}" if item.detail else "it needs the repair of another rule first", "dim"),
            )
        )


def show_runs(runs: Iterable[Run], on: Console) -> None:
    """Print repairs and undos, oldest first."""
    listing = Listing("run", "kind", "started", "actor", "changed rows", "state", "reason")
    for run in runs:
        kind = run.kind if run.undoes is None else f"{run.kind} of {run.undoes}"
        state = "finished" if run.finished_at else f"stopped, {run.to_do} to do"
        started = f"{run.started_at:%Y-%m-%d %H:%M:%S %z}"
        listing.add_row(str(run.id), kind, started, run.actor, str(run.changed_rows), state, run.reason or "")
    on.print(listing)


def show_trend(runs: Iterable[dict[str, Any]], on: Console) -> None:
    """Print recorded audits."""
    listing = Listing("run", "started", "seconds", "errors", "warnings", "new", "fixed", "guard damage", "actor")
    for run in runs:
        started, seconds = f"{run['started_at']:%Y-%m-%d %H:%M:%S %z}", f"{run['duration'].total_seconds():.2f}"
        counts = (run["errors"], run["warnings"], run["new_violations"], run["fixed_violations"], run["guard_damage"])
        listing.add_row(str(run["run"]), started, seconds, *map(_shown, counts), run["actor"])
    on.print(listing)


def show_changes(changes: Iterable[Change], on: Console) -> None:
    """Print the rows that change, column by column, before and after: a table for every so many of them."""
    left = iter(changes)
    while some := list(islice(left, CHANGES_AT_ONCE)):
        listing = Listing("table", "row", "column", "before", "after")
        for change in some:
            row = ", ".join(f"{name} {value}" for name, value in change.row_key.items())
            kind = "new row" if change.before is None else "removed" if change.after is None else ""
            for position, (name, (before, after)) in enumerate(change.columns().items()):
                first = position == 0
                listing.add_row(
                    change.relation if first else "",
                    f"{row} {kind}".strip() if first else "",
                    name,
                    Text(_shown(before), "red"),
                    Text(_shown(after), "green"),
                )
        on.print(listing)


def show_unenforced(remaining: Iterable[Unenforced], on: Console) -> None:
    """Print the constraints that are not enforced in full, and why."""
    listing = Listing("constraint", "state", "violated rules")
    for item in remaining:
        listing.add_row(item.name, item.state, ", ".join(item.rules))
    on.print(listing)


def show_guards(wrong: Sequence[Guard], on: Console) -> None:
    """Print the guards that are not ok, then what mends those that are damaged, for psql."""
    listing = Listing("status", "kind", "identity", "detail")
    for guard in wrong:
        listing.add_row(guard.status, guard.kind, guard.identity, guard.detail)
    if wrong:
        on.print(listing)
    for guard in wrong:
        if guard.damage:
            mend = f"{guard.mend};" if guard.mend else "-- a person decides"
            on.print(f"-- {guard.kind} {guard.identity}\n{mend}\n")


def side_by_side(on: Console, *items: RenderableType) -> None:
    """Print items beside each other in a terminal, below each other when piped."""
    if on.is_terminal:
        on.print(Columns(items, padding=(0, 6)))
    else:
        for item in items:
            on.print(item)


def show_rules(rules: Iterable[Rule], report: Report, on: Console) -> None:
    """Print the rules with their counts and what they mean."""
    counts = {count.rule: count for count in report.counts}
    listing = Listing("rule", "severity", "violations", "category", "repair", "meaning")
    for rule in rules:
        count = counts.get(rule.rule)
        listing.add_row(
            rule.rule,
            count.severity if count else "off",
            str(count.violations) if count else "",
            rule.category,
            rule.repair or "a person decides",
            rule.meaning,
        )
    on.print(listing)


def show_rule(rule: Rule, on: Console) -> None:
    """Print one rule in full."""
    on.print(Text(rule.rule, "bold"), Text(f"({rule.severity}; {rule.category})"))
    on.print(rule.meaning)
    on.print(f"broken by: {rule.broken_by or 'nobody has said yet'}")
    on.print(f"repair:    {rule.repair_meaning or 'none, a person decides'}")
    on.print(f"enforced:  {', '.join(rule.enforced_by) or 'by nothing, it is reported only'}")
    on.print(f"in psql:   select * from integrity.{rule.rule};")


def show_rows(rows: Iterable[tuple[str, dict[str, Any], dict[str, Any]]], on: Console) -> None:
    """Print rows, a line per column that has a value; our markers are left out."""
    listing = Listing("table", "row", "column", "value")
    for relation, key, content in rows:
        head = (relation, ", ".join(f"{name} {value}" for name, value in key.items()))
        for name, value in content.items():
            if value not in (None, "") and name not in key and not name.startswith("integrity_"):
                listing.add_row(*head, name, str(value))
                head = ("", "")
    on.print(listing)


def show_history(events: Iterable[tuple[Any, ...]], on: Console) -> None:
    """Print what the event log says of a quest."""
    listing = Listing("at", "kind", "user", "before", "after", "actor", "application_name")
    for event in events:
        listing.add_row(*map(_shown, event))
    on.print(listing)


def _printable(text: str) -> str:
    """Return the text with its control characters written out: a title must not command a terminal."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
