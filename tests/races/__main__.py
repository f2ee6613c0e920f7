"""``make races``: every race there is, on a throw-away server, and docs/races.md from what they came to."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import make_conninfo

from checks import migrate, server
from checks.engine import server_version
from checks.target import Target
from tests.races import report
from tests.races.campaign import SLICE_SEED, Tally, parse_cell, run_slice
from tests.races.catalogue import LEVELS, STATES
from tests.races.explorer import Explorer
from tests.races.jobs import copy_database, run_all, run_other
from tests.races.starts import ATTACHED, OTHER_STARTS, START_BY_NAME
from tests.support.database import KEEP_MEMORY

TEMPLATE = "migrated"


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 1 when something was found."""
    options = _parse(arguments)
    return _replay(options) if options.command == "replay" else _explore(options)


def _explore(options: argparse.Namespace) -> int:
    with _migrated_server() as (url, version):
        if options.others:
            others = _run_others(url, options)
            report.PATH.write_text(report.with_others(report.PATH.read_text(), others))
            return _say(others.values())
        started = time.monotonic()
        pairs, triples = run_all(url, TEMPLATE, options.seed, options.triples, options.jobs, options.level or LEVELS)
        seconds = time.monotonic() - started
        with Explorer(copy_database(url, TEMPLATE, "slice")) as explorer:
            stable, unstable = run_slice(explorer)
        tallies = [pairs, triples, stable, unstable]
        if not options.level:
            others = _run_others(url, options)
            tallies += others.values()
            run = report.Run(version, options.seed, options.jobs, seconds, pairs, triples, stable, others)
            report.PATH.write_text(report.render(run))
    return _say(tallies)


def _run_others(url: str, options: argparse.Namespace) -> dict[str, Tally]:
    return {
        start.name: run_other(url, TEMPLATE, start, options.seed, options.triples // 10, options.jobs)
        for start in OTHER_STARTS
    }


def _say(tallies: Iterable[Tally]) -> int:
    tallies = list(tallies)
    found = [finding for tally in tallies for finding in (*tally.broken, *tally.unexpected, *tally.timing)]
    for finding in found[:50]:
        print(finding)
    print(f"{sum(tally.races.total() for tally in tallies)} races, {len(found)} findings")
    return 1 if found else 0


def _replay(options: argparse.Namespace) -> int:
    cell = parse_cell(options.state, options.session)
    with _migrated_server() as (url, _):
        database = copy_database(url, TEMPLATE, "replay")
        with Explorer(database, START_BY_NAME[options.start]) as explorer:
            race = explorer.replay(cell, tuple(map(int, options.order)))
    print(f"order {''.join(map(str, race.order))}")
    for operation, refusal in zip(cell.operations, race.outcomes, strict=True):
        print(f"{operation}: {refusal or 'committed'}")
    for key in sorted(race.broken):
        print(f"broken: {key}")
    return 1 if race.broken else 0


@contextmanager
def _migrated_server() -> Iterator[tuple[str, str]]:
    with server.throwaway(environment=KEEP_MEMORY) as running:
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(f"create database {TEMPLATE}")
        migrate.upgrade(Target(make_conninfo(running.url, dbname=TEMPLATE), "races"))
        yield running.url, server_version(running.binaries)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.races", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    explore = commands.add_parser("explore", help="run everything and write docs/races.md")
    explore.add_argument("--seed", type=int, default=SLICE_SEED, help="draws the races of three sessions")
    explore.add_argument("--triples", type=int, default=20_000, help="how many races of three sessions")
    explore.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    explore.add_argument(
        "--level", action="append", choices=LEVELS, help="pairs at this level only; repeatable; docs/races.md stays"
    )
    explore.add_argument(
        "--others", action="store_true", help="only from other starting states; the rest of docs/races.md stays"
    )
    replay = commands.add_parser("replay", help="run one race again, as a finding names it")
    replay.add_argument("--start", choices=START_BY_NAME, default=ATTACHED.name, help="how the layer is")
    replay.add_argument("state", choices=[state.name for state in STATES])
    replay.add_argument("order", help="the session of each step, such as 0101")
    replay.add_argument("session", nargs="+", metavar="'operation @ level'")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
