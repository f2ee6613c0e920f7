"""What people see: tables in a terminal, plain aligned columns when piped."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, TextIO

from rich import box
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from checks.guards import Guard
from checks.law import Unenforced
from checks.repair import Change, Left, Outcome, Run
from checks.rules import Rule
from checks.violations import Report, Violation

PLAIN_WIDTH = 1000
# A table is laid out in memory as a whole.
CHANGES_AT_ONCE = 200
COUNTED = {"violations", "quests", "users", "items", "changed rows"}
NUMERIC = COUNTED | {"seconds", "errors", "warnings", "new", "fixed", "guard damage"}
STYLES = {"error": "bold red", "warning": "yellow"}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would exit with 1, which says that there are violations.
        raise BrokenPipeError


def console(out: TextIO | None = None) -> Console:
    """Return the console of standard output or a file; wide when it is no terminal, so that no value is cut."""
    terminal = _Console(file=out)
    return terminal if terminal.is_terminal else _Console(file=out, width=PLAIN_WIDTH, soft_wrap=True)


def say(message: str) -> None:
    """Print a message for people to stderr."""
    Console(stderr=True, soft_wrap=True).print(message, highlight=False, markup=False)


def table(*headings: str, title: str | None = None, on: Console) -> Table:
    """Return an empty table, ruled in a terminal and bare when piped."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if on.is_terminal else None,
        pad_edge=False,
        padding=(0, 2, 0, 0) if not on.is_terminal else (0, 1),
    )
    for heading in headings:
        numeric = heading in NUMERIC
        made.add_column(heading, justify="right" if numeric else "left", no_wrap=not on.is_terminal)
    return made


def show_report(report: Report, on: Console) -> None:
    """Print the counts by rule and what was looked at."""
    listing = table("rule", "severity", "category", "violations", "quests", "users", on=on)
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
        highlight=False,
    )


def show_violations(violations: Iterable[Violation], on: Console) -> None:
    """Print one line per violation, as they come."""
    for violation in violations:
        on.print(
            Text.assemble(
                (violation.severity, STYLES[violation.severity]),
                f"  {violation.message}",
                (f"  [{violation.key}; repair: {violation.repair or 'a person decides'}]", "dim"),
            )
        )


def show_outcomes(outcomes: Iterable[Outcome], on: Console) -> None:
    """Print what became of the planned items of a run."""
    listing = table("rule", "outcome", "items", "refused by", on=on)
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
    listing = table("run", "kind", "started", "actor", "changed rows", "state", "reason", on=on)
    for run in runs:
        kind = run.kind if run.undoes is None else f"{run.kind} of {run.undoes}"
        state = "finished" if run.finished_at else f"stopped, {run.to_do} to do"
        started = f"{run.started_at:%Y-%m-%d %H:%M:%S %z}"
        listing.add_row(str(run.id), kind, started, run.actor, str(run.changed_rows), state, run.reason or "")
    on.print(listing)


def show_trend(runs: Iterable[dict[str, Any]], on: Console) -> None:
    """Print recorded audits."""
    listing = table("run", "started", "seconds", "errors", "warnings", "new", "fixed", "guard damage", "actor", on=on)
    for run in runs:
        started, seconds = f"{run['started_at']:%Y-%m-%d %H:%M:%S %z}", f"{run['duration'].total_seconds():.2f}"
        counts = (run["errors"], run["warnings"], run["new_violations"], run["fixed_violations"], run["guard_damage"])
        listing.add_row(str(run["run"]), started, seconds, *map(_shown, counts), run["actor"])
    on.print(listing)


def show_changes(changes: Iterable[Change], on: Console) -> None:
    """Print the rows that change, column by column, before and after: a table for every so many of them."""
    left = iter(changes)
    while some := list(islice(left, CHANGES_AT_ONCE)):
        listing = table("table", "row", "column", "before", "after", on=on)
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
    listing = table("constraint", "state", "violated rules", on=on)
    for item in remaining:
        listing.add_row(item.name, item.state, ", ".join(item.rules))
    on.print(listing)


def show_guards(wrong: Iterable[Guard], on: Console) -> None:
    """Print the guards that are not ok, then what mends those that are damaged, for psql."""
    listing = table("status", "kind", "identity", "detail", on=on)
    for guard in wrong:
        listing.add_row(guard.status, guard.kind, guard.identity, guard.detail)
    if listing.row_count:
        on.print(listing)
    for guard in wrong:
        if guard.damage:
            mend = f"{guard.mend};" if guard.mend else "-- a person decides"
            on.print(f"-- {guard.kind} {guard.identity}\n{mend}\n", markup=False, highlight=False)


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
    listing = table("rule", "severity", "violations", "category", "repair", "meaning", on=on)
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
    on.print(rule.meaning, highlight=False)
    on.print(f"broken by: {rule.broken_by or 'nobody has said yet'}", highlight=False)
    on.print(f"repair:    {rule.repair_meaning or 'none, a person decides'}", highlight=False)
    on.print(f"enforced:  {', '.join(rule.enforced_by) or 'by nothing, it is reported only'}", highlight=False)
    on.print(f"in psql:   select * from integrity.{rule.rule};", highlight=False)


def show_rows(rows: Iterable[tuple[str, dict[str, Any], dict[str, Any]]], on: Console) -> None:
    """Print rows, a line per column that has a value; our markers are left out."""
    listing = table("table", "row", "column", "value", on=on)
    for relation, key, content in rows:
        head = (relation, ", ".join(f"{name} {value}" for name, value in key.items()))
        for name, value in content.items():
            if value not in (None, "") and name not in key and not name.startswith("integrity_"):
                listing.add_row(*head, name, str(value))
                head = ("", "")
    on.print(listing)


def show_history(events: Iterable[tuple[Any, ...]], on: Console) -> None:
    """Print what the event log says of a quest."""
    listing = table("at", "kind", "user", "before", "after", "actor", "application_name", on=on)
    for event in events:
        listing.add_row(*map(_shown, event))
    on.print(listing)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
