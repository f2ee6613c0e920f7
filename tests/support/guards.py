"""What the guards say, and mending by hand what they say."""

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
    return {f"{guard.kind} {guard.identity}": guard.status for guard in wrong(connection)}


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
