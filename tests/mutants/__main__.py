"""``make mutants``: every mutant of the layer, asked of the guards and of the tests, and docs/mutants.md from the answers."""

import argparse
import fnmatch
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from checks import migrate, server
from checks.target import Target
from tests.mutants import guards, report, suite
from tests.mutants.catalog import Mutant, mutants

ANSWERS = suite.ROOT / ".mutants" / "answers.jsonl"

_Connection = psycopg.Connection[Any]


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 1 when a mutant survives that nobody has argued for, or the guards miss one."""
    options = _parse(arguments)
    with _migrated() as connection:
        everything = mutants(connection)
        chosen = [mutant for mutant in everything if fnmatch.fnmatch(mutant.name, options.only)]
        verdicts = {mutant: guards.judge(connection, mutant) for mutant in chosen}
    possible = [mutant for mutant in chosen if verdicts[mutant].refused is None]
    missed = [mutant.name for mutant in possible if not verdicts[mutant].noticed]
    print(f"{len(chosen)} mutants, {len(chosen) - len(possible)} refused, {len(missed)} missed by the guards")
    if not options.guards_only:
        _ask([mutant for mutant in possible if suite.asked(mutant)], options)
    answers = suite.read(ANSWERS)
    tests = {mutant: answers[key] for mutant in possible if (key := (mutant.name, suite.state(mutant))) in answers}
    _remember(tests)
    if options.only == "*":
        report.PATH.write_text(report.render(report.Run(verdicts, tests)))
    unargued = report.unargued(tests)
    for name in (*missed, *unargued):
        print(f"survives: {name}")
    return 1 if missed or unargued else 0


def _ask(chosen: list[Mutant], options: argparse.Namespace) -> None:
    """Ask the tests about what they have not been asked yet, in as many processes as wanted."""
    ANSWERS.parent.mkdir(exist_ok=True)
    known = _known()
    there = suite.read(ANSWERS)
    done = {key for key, answer in there.items() if answer.killer is not None or not options.again}
    left = [mutant for mutant in chosen if (mutant.name, suite.state(mutant)) not in done]
    children = []
    for share in suite.shares(left, options.jobs):
        if (child := os.fork()) == 0:
            code = 1
            try:
                suite.ask(share, known, ANSWERS)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    failed = [child for child in children if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0]
    if failed:
        raise RuntimeError(f"{len(failed)} of {options.jobs} jobs failed; run it again, it goes on where it was")


def _known() -> dict[str, str]:
    return dict(json.loads(report.KILLERS.read_text())) if report.KILLERS.exists() else {}


def _remember(tests: dict[Mutant, suite.Answer]) -> None:
    known = _known() | {mutant.name: answer.killer for mutant, answer in tests.items() if answer.killer is not None}
    report.KILLERS.write_text(json.dumps(known, indent=0, sort_keys=True, ensure_ascii=False) + "\n")


@contextmanager
def _migrated() -> Iterator[_Connection]:
    with server.throwaway() as running:
        target = Target(running.url, "mutants")
        migrate.upgrade(target)
        with target.connect(autocommit=True) as connection:
            yield connection


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="mutants whose names match, such as 'trigger *'")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--again", action="store_true", help="ask the tests again about mutants that survived")
    parser.add_argument("--guards-only", action="store_true", help="do not ask the tests")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
