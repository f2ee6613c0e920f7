"""The second question: do the guards notice a mutant? Every mutant is rolled back."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from checks import guards
from tests.mutants.catalog import Mutant
from tests.support.mutation import SETTINGS

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Args:
        refused: PostgreSQL's own refusal, if it does not let this mutant be.
        noticed: Whether the guards find damage.
    """

    refused: str | None
    noticed: bool


def judge(connection: _Connection, mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, Verdict]]:
    """Ask the guards about mutants of a migrated database, which is as before after each of them.

    They are asked about many at once. Whoever is not named then, or was refused, is asked about alone.

    Args:
        connection: To a database without rows.
        mutants: Any.
    """
    for together in _rounds(mutants):
        refused, damaged = _ask(connection, together)
        for mutant in together:
            if mutant in refused or _guard(mutant) not in damaged:
                own_refusal, own_damage = (refused, damaged) if len(together) == 1 else _ask(connection, [mutant])
                yield mutant, Verdict(own_refusal.get(mutant), bool(own_damage))
            else:
                yield mutant, Verdict(None, True)


def read(verdicts: Path) -> dict[tuple[str, str], Verdict]:
    """Return the verdicts in a file of JSON lines, by mutant and state."""
    if not verdicts.exists():
        return {}
    found = map(json.loads, verdicts.read_text().splitlines())
    return {(line["mutant"], line["state"]): Verdict(line["refused"], line["noticed"]) for line in found}


def append(verdicts: Path, mutant: str, state: str, verdict: Verdict) -> None:
    """Add a verdict to a file."""
    with verdicts.open("a") as file:
        file.write(json.dumps({"mutant": mutant, "state": state} | asdict(verdict)) + "\n")


def _ask(connection: _Connection, mutants: Sequence[Mutant]) -> tuple[dict[Mutant, str], set[str]]:
    """Return what was refused, and what the guards call damaged while the rest is there."""
    with connection.transaction(force_rollback=True):
        refused = _apply(connection, mutants)
        if len(refused) == len(mutants):
            return refused, set()
        return refused, {guard.identity for guard in guards.damaged(connection)}


def _apply(connection: _Connection, mutants: Sequence[Mutant]) -> dict[Mutant, str]:
    refused = {}
    connection.execute(SETTINGS)
    for mutant in mutants:
        try:
            with connection.transaction():
                connection.execute(mutant.sql.encode())
        except psycopg.Error as error:
            refused[mutant] = str(error.diag.message_primary)
    return refused


def _rounds(mutants: Iterable[Mutant]) -> Iterator[list[Mutant]]:
    """Divide mutants so that each round has one of an object at most; what takes other objects along comes alone."""
    waiting: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        if "cascade" in mutant.sql:
            yield [mutant]
        else:
            waiting[_guard(mutant)].append(mutant)
    while waiting:
        yield [mutants_of_one.pop() for mutants_of_one in waiting.values()]
        waiting = defaultdict(list, {name: rest for name, rest in waiting.items() if rest})


def _guard(mutant: Mutant) -> str:
    """Return what the guards call the object of a mutant."""
    return mutant.subject.partition(" ")[2] if mutant.kind == "grant" else mutant.subject
