"""The screen of the known statuses."""

from collections.abc import Iterable

from rich.console import Console

from checks import render
from checks.records import Record
from checks.render import Listing, Whole


def show_statuses(statuses: Iterable[Record], on: Console) -> None:
    """Print each status as `--remove` takes it, with what the layer takes it for."""
    listing = Listing("table", "status", "added", "meaning")
    for row in statuses:
        added = "" if row["built_in"] else "added"
        if on.is_terminal:
            named = Whole(f"{row['relation']}:{row['status']}", "bold")
            render.put(on, named, f"  {row['meaning']}{f', {added}' if added else ''}", hang=2)
        listing.add_row(row["relation"], row["status"], added, row["meaning"])
    if not on.is_terminal:
        on.print(listing)
