"""What the guards say, and mending by hand what they say."""

from collections.abc import Iterable
from typing import Any

import psycopg

from checks import guards

_Connection = psycopg.Connection[Any]

VIEW = "select kind || ' ' || identity, status from integrity.guard_status where status <> 'ok'"


def wrong(connection: _Connection) -> list[guards.Guard]:
    """Return what is not ok."""
    return [guard for guard in guards.read(connection) if guard.status != "ok"]


def statuses(connection: _Connection) -> dict[str, str]:
    """Return the status of what is not ok."""
    return named(wrong(connection))


def named(found: Iterable[guards.Guard]) -> dict[str, str]:
    """Return the status of each guard by its name."""
    return {f"{guard.kind} {guard.identity}": guard.status for guard in found}


def statuses_in_psql(connection: _Connection) -> dict[str, str]:
    """Return the same as the view in the database has it."""
    return dict(connection.execute(VIEW).fetchall())


def mend_by_hand(connection: _Connection) -> list[str]:
    """Paste the mends of the damaged guards into an autocommit session in their order, and again until all is well.

    Returns:
        The statements. None of them failed.
    """
    connection.commit()
    connection.autocommit = True
    done: list[str] = []
    while mends := [guard.mend for guard in guards.damaged(connection) if guard.mend]:
        for mend in dict.fromkeys(mends):
            assert mend not in done, f"did not help: {mend}"
            connection.execute(mend)
            done.append(mend)
    connection.autocommit = False
    return done


def mended(connection: _Connection, found: list[guards.Guard]) -> list[guards.Guard]:
    """Run the mends of what was found wrong in the connection's transaction, and again until nothing has one.

    Returns:
        What is not ok then. None of the statements failed.
    """
    done: set[str] = set()
    while mends := dict.fromkeys(guard.mend for guard in found if guard.damage and guard.mend):
        for mend in mends:
            assert mend not in done, f"did not help: {mend}"
            connection.execute(mend.encode())
            done.add(mend)
        found = wrong(connection)
    return found
