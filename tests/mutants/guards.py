"""The second question: do the guards notice a mutant? Each in a transaction of its own that is rolled back."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from checks import guards
from tests.mutants.catalog import Mutant

_Connection = psycopg.Connection[Any]
SETTINGS = "set local search_path = pg_catalog, pg_temp; set local client_min_messages = error"


@dataclass(frozen=True)
class Verdict:
    """What the guards said of a mutant.

    Args:
        refused: PostgreSQL's own refusal, if it does not let this mutant be.
        noticed: What is damaged, each as the guards call it.
    """

    refused: str | None
    noticed: frozenset[str]


def judge(connection: _Connection, mutant: Mutant) -> Verdict:
    """Ask the guards about one mutant of a migrated database without rows, which is as before when this returns."""
    return judge_together(connection, [mutant])[mutant]


def judge_together(connection: _Connection, mutants: Sequence[Mutant]) -> dict[Mutant, Verdict]:
    """Ask the guards once about mutants of different objects, all of them there at the same time."""
    refused: dict[Mutant, str] = {}
    with connection.transaction(force_rollback=True):
        connection.execute(SETTINGS)
        for mutant in mutants:
            try:
                with connection.transaction():
                    connection.execute(mutant.sql.encode())
            except psycopg.Error as error:
                refused[mutant] = str(error.diag.message_primary)
        noticed = frozenset(f"{guard.kind} {guard.identity}" for guard in guards.damaged(connection))
    return {
        mutant: Verdict(refused.get(mutant), noticed if mutant not in refused else frozenset()) for mutant in mutants
    }


def rounds(mutants: Iterable[Mutant]) -> Iterator[list[Mutant]]:
    """Divide mutants so that the guards can be asked about many at once and still say which ones they mean.

    Every round has one mutant of an object at most. What drops an object takes others along, so it comes alone.
    """
    waiting: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        if "cascade" in mutant.sql:
            yield [mutant]
        else:
            waiting[guarded(mutant)[1]].append(mutant)
    while waiting:
        yield [waiting[object_].pop() for object_ in waiting]
        waiting = defaultdict(list, {object_: rest for object_, rest in waiting.items() if rest})


def guarded(mutant: Mutant) -> tuple[str, str]:
    """Return the guard that is about a mutant's object, as its kinds and its identity."""
    if mutant.kind != "grant":
        return mutant.kind, mutant.subject
    kind, _, identity = mutant.subject.partition(" ")
    return kind, identity
