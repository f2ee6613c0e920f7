"""Races in several processes, each on a database of its own."""

import os
import random
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.races.campaign import Judge, Tally, cells, drawn_triple
from tests.races.explorer import Cell, Explorer

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
    chance = random.Random(seed)
    chosen = (cell for cell in cells() if set(cell.levels) <= set(levels))
    tasks = [Task(batch) for batch in _batches(chosen)]
    tasks += [
        Task([drawn_triple(chance) for _ in batch], chance.randrange(2**32)) for batch in _batches(iter(range(triples)))
    ]
    said = time.monotonic()
    # Not forked: a child would share the parent's sockets, and its hold on the server.
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start, (url, template)) as pool:
        for number, (task, tally) in enumerate(zip(tasks, pool.map(_run, tasks), strict=True), 1):
            (pairs if task.seed is None else threes).add(tally)
            if time.monotonic() - said > SAY_EVERY_SECONDS or number == len(tasks):
                said = time.monotonic()
                races = pairs.races.total() + threes.races.total()
                print(f"{number} of {len(tasks)} tasks, {races} races", file=sys.stderr, flush=True)
    return pairs, threes


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, BATCH)):
        yield batch


# One per process, which it ends with.
_explorer: Explorer


def _start(url: str, template: str) -> None:
    global _explorer
    _explorer = Explorer(copy_database(url, template, f"races_{os.getpid()}")).__enter__()


def _run(task: Task) -> Tally:
    judge = Judge(_explorer)
    for number, cell in enumerate(task.batch):
        if task.seed is None:
            judge.every_ordering(cell)
        else:
            judge.some_ordering(cell, random.Random(f"{task.seed}/{number}"))
    judge.explorer.sweep()
    return judge.tally
