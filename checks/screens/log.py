"""The screens of the event log and of recorded audits."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from checks import render
from checks.people import People
from checks.render import Listing, Part, Prose, Whole

Event = Mapping[str, Any]
CHANGES = {"new": "bold red", "fixed": "green", "old": "dim"}


def show_events(events: Iterable[Event], people: People, on: Console) -> int:
    """Print events, a line each when piped; return how many there were."""
    shown = 0
    for some in render.in_batches(events):
        people.learn([each["before"], each["after"], each["user_id"]] for each in some)
        for event in some:
            show_event(event, people, on)
        shown += len(some)
    return shown


def show_event(event: Event, people: People, on: Console) -> None:
    """Print one event, whose people have been looked up: what changed, of whom, by whom."""
    who = event["username"] or people.name(event["user_id"])
    client = event["application_name"] or "unnamed client"
    if not on.is_terminal:
        when = f"{event['at']:%Y-%m-%d %H:%M:%S%z}"
        subject = f"{event['kind']:<21}  quest {event['quest_id'] or '-':<7}  {who:<16}"
        render.put(
            on, Whole(f"{when}  {subject}  "), *_changes(event, people, " -> "), f"  [{event['actor']}, {client}]"
        )
        return
    at = Whole(render.time(event["at"]))
    quest = Whole(f"quest {event['quest_id']}") if event["quest_id"] else "no quest"
    render.put(on, at, "  ", Whole(event["kind"], "bold"), "  ", quest, "  ", Whole(who), hang=2)
    by = (Prose("  by ", "dim"), Whole(event["actor"], "dim"), Prose(", ", "dim"), Whole(client, "dim"))
    render.put(on, *_changes(event, people, " → "), *by, indent=2)


def show_trend(runs: Iterable[Mapping[str, Any]], on: Console) -> None:
    """Print recorded audits."""
    listing = Listing("run", "started", "seconds", "errors", "warnings", "new", "fixed", "guard damage", "actor")
    for run in runs:
        started, seconds = render.time(run["started_at"]), f"{run['duration'].total_seconds():.2f}"
        counts = (run["errors"], run["warnings"], run["new_violations"], run["fixed_violations"], run["guard_damage"])
        number = Text(str(run["run"]), "bold")
        listing.add_row(number, started, seconds, *map(render.shown, counts), run["actor"])
    on.print(listing)


def show_known(violations: Iterable[Mapping[str, Any]], people: People, on: Console) -> None:
    """Print what is new, fixed and old in the last recorded audit, one a line."""
    for some in render.in_batches(violations):
        people.learn([each["user_id"]] for each in some)
        for known in some:
            change, seen = f"{known['change']:<5}", Whole(render.time(known["first_seen"]))
            parts: list[Part] = [
                Whole(change, CHANGES[known["change"]]),
                "  ",
                Whole(known["key"]),
                "  seen first ",
                seen,
            ]
            if known["user_id"] is not None:
                parts += ["  ", Whole(people.name(known["user_id"]))]
            render.put(on, *parts, hang=7)


def _changes(event: Event, people: People, arrow: str) -> list[Part]:
    before, after = event["before"] or {}, event["after"] or {}
    parts: list[Part] = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        parts += [f", {name}: " if parts else f"{name}: "]
        # What was found before a repair, and the run that repaired it, are no change of one thing.
        if name in before and name in after:
            parts += [_value(old, people), arrow]
        parts.append(_value(new if name in after else old, people))
    return parts


def _value(value: object, people: People) -> Whole:
    if isinstance(value, str):
        return Whole(people.names.get(value, value))
    return Whole("null" if value is None else json.dumps(value))
