"""The screens of repairs and undos: the rows that change, as a diff; what became of the items; the runs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from checks import render
from checks.people import People
from checks.render import STYLES, Listing, Part, Prose, Whole
from checks.repair import Change, Left, Outcome, Run
from checks.screens.audit import quest_title

KINDS = ("changed", "new", "removed")
SIGNS = {"changed": " ", "new": "+", "removed": "-"}
PIPED = {"changed": "", "new": "new row", "removed": "removed"}
HEADS = {"changed": "bold", "new": "bold green", "removed": "bold red"}


def show_changes(changes: Iterable[Change], people: People, on: Console) -> None:
    """Print the rows that change: as a diff in a terminal, where they come by quest, else a line per column."""
    if on.is_terminal:
        _show_diff(changes, people, on)
        return
    for some in render.in_batches(changes):
        listing = Listing("table", "row", "column", "before", "after")
        for change in some:
            head = (change.relation, f"{row_key(change.row_key)} {PIPED[_kind(change)]}".strip())
            for name, (before, after) in change.columns().items():
                listing.add_row(*head, name, render.shown(before), render.shown(after))
                head = ("", "")
        on.print(listing)


def show_change(change: Change, people: People, on: Console) -> None:
    """Print one row as a block of a diff; its people have been looked up."""
    kind = _kind(change)
    named = Whole(f"{SIGNS[kind]} {change.relation} {row_key(change.row_key)}", HEADS[kind])
    render.put(on, named, Prose(f"  {', '.join(change.rules)}", "dim"), hang=4)
    for name, (before, after) in change.columns().items():
        if name in change.row_key:
            continue
        if kind == "changed":
            parts = [*_value(before, people, "red"), " → ", *_value(after, people, "green")]
        else:
            parts = _value(after if kind == "new" else before, people, "green" if kind == "new" else "red")
        render.put(on, Whole(f"{name}:"), " ", *parts, indent=4, hang=6)


def show_outcomes(outcomes: Sequence[Outcome], on: Console) -> None:
    """Print what became of the planned items of a run; nothing if there were none."""
    if not outcomes:
        return
    listing = Listing("rule", "outcome", "items", "refused by")
    for outcome in outcomes:
        listing.add_row(outcome.rule, outcome.outcome, str(outcome.items), outcome.refused_by or "")
    on.print(listing)


def show_left(left: Iterable[Left], on: Console) -> None:
    """Print one line for each violation or quest that a run left as it is, and why."""
    for item in left:
        why: list[Part] = ["it needs the repair of another rule first"]
        if item.detail:
            why = ["by " if item.outcome == "refused" else "not as before: ", Whole(item.detail)]
        key = Whole(item.key or f"quest {item.quest_id}")
        render.put(on, Prose(item.outcome, STYLES["warning"]), "  ", key, "  ", *why, hang=2)


def show_runs(runs: Sequence[Run], on: Console) -> None:
    """Print repairs and undos, oldest first."""
    if not runs:
        return
    listing = Listing("run", "kind", "started", "actor", "changed rows", "state", "reason", prose=["reason"])
    for run in runs:
        kind = run.kind if run.undoes is None else f"{run.kind} of {run.undoes}"
        state = "finished" if run.finished_at else f"stopped, {run.to_do} to do"
        number = Text(str(run.id), "bold")
        listing.add_row(
            number, kind, render.time(run.started_at), run.actor, str(run.changed_rows), state, run.reason or ""
        )
    on.print(listing)


def row_key(key: dict[str, Any]) -> str:
    """Return the key of a row as 'id 5'."""
    return ", ".join(f"{name} {value}" for name, value in key.items())


def _show_diff(changes: Iterable[Change], people: People, on: Console) -> None:
    found: Counter[tuple[str, str]] = Counter()
    quest: int | None = None
    for some in render.in_batches(changes):
        people.learn(([each.before, each.after] for each in some), (each.quest_id for each in some))
        for change in some:
            if not found or change.quest_id != quest:
                quest = change.quest_id
                on.print()
                render.put(on, *quest_title(quest, people), hang=2)
            show_change(change, people, on)
            found[change.relation, _kind(change)] += 1
    if found:
        on.print()
    for relation in sorted({relation for relation, _ in found}):
        numbers = [f"{found[relation, kind]:,} {kind}" for kind in KINDS if found[relation, kind]]
        render.put(on, Whole(relation), f": {', '.join(numbers)}", hang=2)
    if found:
        on.print()


def _kind(change: Change) -> str:
    return "new" if change.before is None else "removed" if change.after is None else "changed"


def _value(value: Any, people: People, style: str) -> list[Part]:
    if value is None:
        return [Prose("null", "dim")]
    if isinstance(value, str) and value in people.names:
        return [Whole(people.names[value], style), " (", Whole(value, "dim"), ")"]
    text = str(value)
    # A text of many words is prose; an id, a time or a status is not.
    return [Prose(text, style) if text.count(" ") > 1 else Whole(text or '""', style)]
