"""The one exception that is meant for the user, and how its sentence quotes a program or the server."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


class UserError(Exception):
    """Something the user can act on: shown as one sentence, without a traceback, and ends with exit code 2.

    The message says what was found, what was expected and what to do next; the technical cause, when
    there is one, is kept as ``__cause__``.
    """

    exit_code = 2


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question whether a known name was meant, for the middle of a sentence; nothing if none is near."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def one_line(text: str) -> str:
    """Return what a program printed, to be quoted in a sentence."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def reported(error: "psycopg.Error") -> str:
    """Return the server's message with its hint, to be quoted in a sentence."""
    hint = (error.diag.message_hint or "").rstrip(".")
    # It begins as a sentence does, unless with an acronym.
    hint = hint if hint[1:2].isupper() else hint[:1].lower() + hint[1:]
    return ": ".join(part for part in (error.diag.message_primary, hint) if part)
