"""Races in several processes, each on a database of its own."""

import os
import random
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.races.campaign import Judge, Tally, cells, drawn_triple, turned
from tests.races.catalogue import STATES, State
from tests.races.explorer import Cell, Explorer
from tests.races.starts import ATTACHED, Start

T = TypeVar("T")

BATCH = 20
SAY_EVERY_SECONDS = 10


@dataclass(frozen=True)
class Task:
    """Some cells: every ordering of each, or with a seed one that it draws."""

    batch: list[Cell]
    seed: int | None = None


def copy_database(url: str, template: str, name: str) -> str:
    """Create a database like another one on the same server, and return how to reach it."""
    with psycopg.connect(url, autocommit=True) as connection:
        names = map(sql.Identifier, (name, template))
        connection.execute(sql.SQL("create database {} template {}").format(*names))
    return make_conninfo(url, dbname=name)


def run_all(
    url: str, template: str, seed: int, triples: int, jobs: int, levels: Collection[str]
) -> tuple[Tally, Tally]:
    """Run every ordering of every pair at some isolation levels, and drawn races of three sessions.

    Args:
        url: A server that nobody else uses.
        template: A migrated database on it.
        seed: Draws the races of three sessions.
        triples: How many of those.
        jobs: How many processes.
        levels: The isolation levels of the pairs.

    Returns:
        What the races of two and of three sessions came to.
    """
    pairs, threes = Tally(), Tally()
    chosen = (cell for cell in cells() if set(cell.levels) <= set(levels))
    tasks = [Task(batch) for batch in _batches(chosen)] + _triples(triples, random.Random(seed))
    for task, tally in _run_tasks(url, template, ATTACHED, tasks, jobs):
        (pairs if task.seed is None else threes).add(tally)
    return pairs, threes


def run_other(url: str, template: str, start: Start, seed: int, triples: int, jobs: int) -> Tally:
    """Run one drawn ordering of every pair, and drawn races of three sessions, from another starting state.

    Args:
        url: A server that nobody else uses.
        template: A migrated database on it.
        start: The starting state.
        seed: Draws the races.
        triples: How many races of three sessions.
        jobs: How many processes.

    Returns:
        What they came to.
    """
    chance = random.Random(f"{seed}/{start.name}")
    tasks = [
        Task([turned(cell, chance) for cell in batch], chance.randrange(2**32))
        for batch in _batches(cells(start.states))
    ] + _triples(triples, chance, start.states)
    whole = Tally()
    for _, tally in _run_tasks(url, template, start, tasks, jobs):
        whole.add(tally)
    return whole


def _triples(count: int, chance: random.Random, states: Sequence[State] = STATES) -> list[Task]:
    return [
        Task([drawn_triple(chance, states) for _ in batch], chance.randrange(2**32))
        for batch in _batches(iter(range(count)))
    ]


def _run_tasks(url: str, template: str, start: Start, tasks: list[Task], jobs: int) -> Iterator[tuple[Task, Tally]]:
    said = time.monotonic()
    races = 0
    # Not forked: a child would share the parent's sockets, and its hold on the server.
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start, (url, template, start)) as pool:
        for number, (task, tally) in enumerate(zip(tasks, pool.map(_run, tasks), strict=True), 1):
            yield task, tally
            races += tally.races.total()
            if time.monotonic() - said > SAY_EVERY_SECONDS or number == len(tasks):
                said = time.monotonic()
                print(f"{start.name}: {number} of {len(tasks)} tasks, {races} races", file=sys.stderr, flush=True)


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, BATCH)):
        yield batch


# One per process, which it ends with.
_explorer: Explorer


def _start(url: str, template: str, start: Start) -> None:
    global _explorer
    _explorer = Explorer(copy_database(url, template, f"races_{os.getpid()}"), start).__enter__()


def _run(task: Task) -> Tally:
    judge = Judge(_explorer)
    for number, cell in enumerate(task.batch):
        if task.seed is None:
            judge.every_ordering(cell)
        else:
            judge.some_ordering(cell, random.Random(f"{task.seed}/{number}"))
    judge.explorer.sweep()
    return judge.tally
