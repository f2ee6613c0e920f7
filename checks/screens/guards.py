"""The screens of the guards and of the constraints that are not enforced."""

from collections.abc import Iterable, Sequence

from rich.console import Console

from checks import render
from checks.guards import Guard
from checks.law import Unenforced
from checks.render import Listing, Prose, Whole


def show_unenforced(remaining: Iterable[Unenforced], on: Console) -> None:
    """Print the constraints that are not enforced in full, and why."""
    listing = Listing("constraint", "state", "violated rules", prose=["violated rules"])
    for item in remaining:
        listing.add_row(item.name, item.state, ", ".join(item.rules))
    on.print(listing)


def show_guards(wrong: Sequence[Guard], on: Console) -> None:
    """Print the guards that are not ok, then what repairs those that are damaged, for psql."""
    if not wrong:
        return
    if on.is_terminal:
        _show_blocks(wrong, on)
        return
    listing = Listing("status", "kind", "identity", "detail")
    for guard in wrong:
        listing.add_row(guard.status, guard.kind, guard.identity, guard.detail)
    on.print(listing)
    for guard in wrong:
        if guard.damage:
            on.print(f"-- {guard.kind} {guard.identity}\n{_statement(guard)}\n")


def _show_blocks(wrong: Sequence[Guard], on: Console) -> None:
    for guard in wrong:
        status = Prose(guard.status, "bold red" if guard.damage else "yellow")
        name, of, table = guard.identity.partition(" on ")
        render.put(on, status, "  ", guard.kind, " ", Whole(name, "bold"), of, Whole(table, "bold"), hang=2)
        render.put(on, guard.detail, indent=2)
        if guard.damage:
            render.statement(on, _statement(guard))
        on.print()


def _statement(guard: Guard) -> str:
    return f"{guard.mend};" if guard.mend else "-- a person decides"
