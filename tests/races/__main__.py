"""``make races``: every race there is, on a throw-away server, and docs/races.md from what they came to."""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from checks import migrate, server
from checks.target import Target
from tests.races import report
from tests.races.campaign import SLICE_SEED, Judge, Tally, cells, drawn_triple, parse_cell, run_slice
from tests.races.catalogue import STATES
from tests.races.explorer import Cell, Explorer

T = TypeVar("T")

BATCH = 20
SAY_EVERY_SECONDS = 10

# One per process: its explorer is made once.
_judge: Judge | None = None


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 1 when something was found."""
    options = _parse(arguments)
    if options.command == "replay":
        return _replay(options)
    started = time.monotonic()
    with _migrated_server() as (url, version):
        done = _run_all(url, options)
        with Explorer(_database(url, "slice")) as explorer:
            stable, _ = run_slice(explorer)
    run = report.Run(version, options.seed, options.jobs, time.monotonic() - started, done[0], done[1], stable)
    report.PATH.write_text(report.render(run))
    found = [finding for tally in (*done, stable) for finding in (*tally.broken, *tally.unexpected, *tally.timing)]
    for finding in found[:50]:
        print(finding)
    print(f"{sum(tally.races.total() for tally in done)} races, {len(found)} findings; see {report.PATH}")
    return 1 if found else 0


def _run_all(url: str, options: argparse.Namespace) -> tuple[Tally, Tally]:
    pairs, triples = Tally(), Tally()
    chance = random.Random(options.seed)
    tasks: list[tuple[list[Cell], int | None]] = [(batch, None) for batch in _batches(cells())]
    numbers = range(options.triples)
    tasks += [([drawn_triple(chance) for _ in batch], chance.randrange(2**32)) for batch in _batches(iter(numbers))]
    said = time.monotonic()
    with ProcessPoolExecutor(
        options.jobs, mp_context=get_context("spawn"), initializer=_start_job, initargs=(url,)
    ) as pool:
        for number, (tally, (_, seed)) in enumerate(zip(pool.map(_run_job, tasks), tasks, strict=True), 1):
            (pairs if seed is None else triples).add(tally)
            if time.monotonic() - said > SAY_EVERY_SECONDS or number == len(tasks):
                said = time.monotonic()
                races = pairs.races.total() + triples.races.total()
                print(f"{number} of {len(tasks)} tasks, {races} races", file=sys.stderr, flush=True)
    return pairs, triples


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def _start_job(url: str) -> None:
    global _judge
    _judge = Judge(Explorer(_database(url, f"races_{os.getpid()}")).__enter__())


def _run_job(task: tuple[list[Cell], int | None]) -> Tally:
    assert _judge is not None
    batch, seed = task
    _judge.tally = Tally()
    for number, cell in enumerate(batch):
        if seed is None:
            _judge.every_ordering(cell)
        else:
            _judge.some_ordering(cell, random.Random(f"{seed}/{number}"))
    _judge.explorer.sweep()
    return _judge.tally


@contextmanager
def _migrated_server() -> Iterator[tuple[str, str]]:
    with server.throwaway() as running:
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute("create database migrated")
        migrate.upgrade(Target(make_conninfo(running.url, dbname="migrated"), "races"))
        yield running.url, server.server_version(running.binaries)


def _database(url: str, name: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template migrated").format(sql.Identifier(name)))
    return make_conninfo(url, dbname=name)


def _replay(options: argparse.Namespace) -> int:
    cell = parse_cell(options.state, options.session)
    with _migrated_server() as (url, _), Explorer(_database(url, "replay")) as explorer:
        race = explorer.replay(cell, tuple(map(int, options.order)))
    for operation, refusal in zip(cell.operations, race.outcomes, strict=True):
        print(f"{operation}: {refusal or 'committed'}")
    for key in sorted(race.broken):
        print(f"broken: {key}")
    return 1 if race.broken else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.races", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    explore = commands.add_parser("explore", help="run everything and write docs/races.md")
    explore.add_argument("--seed", type=int, default=SLICE_SEED, help="draws the races of three sessions")
    explore.add_argument("--triples", type=int, default=20_000, help="how many races of three sessions")
    explore.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    replay = commands.add_parser("replay", help="run one race again, as a finding names it")
    replay.add_argument("state", choices=[state.name for state in STATES])
    replay.add_argument("order", help="the session of each step, such as 0101")
    replay.add_argument("session", nargs="+", metavar="'operation @ level'")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
