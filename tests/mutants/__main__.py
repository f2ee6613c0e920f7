"""``make mutants``: the guards and the tests are asked about every mutant; docs/mutants.md has the answers."""

import argparse
import fnmatch
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from checks import migrate, server
from checks.target import Target
from tests.mutants import grants, guards, report, suite
from tests.mutants.catalog import Mutant, mutants
from tests.support.database import KEEP_MEMORY

# What is known already: a run that was interrupted goes on, until sql/ changes.
ANSWERS = suite.ROOT / ".mutants" / "answers.jsonl"
VERDICTS = suite.ROOT / ".mutants" / "verdicts.jsonl"

_Connection = psycopg.Connection[Any]


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 1 when a mutant survives that nobody has argued for, or the guards miss one."""
    options = _parse(arguments)
    # Asked to end, it ends its jobs too, as when it is interrupted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ANSWERS.parent.mkdir(exist_ok=True)
    with _migrated() as connection:
        chosen = [mutant for mutant in mutants(connection) if fnmatch.fnmatch(mutant.name, options.only)]
        verdicts = _judge(connection, chosen)
        possible = [mutant for mutant in chosen if verdicts[mutant].refused is None]
        if not options.guards_only:
            _ask_grants(connection, _left([mutant for mutant in possible if mutant.kind == "grant"], options))
    if not options.guards_only:
        _ask(suite.in_turn(mutant for mutant in _left(possible, options) if suite.asked(mutant)), options)
    answers = suite.read(ANSWERS)
    found = {mutant: answers[key] for mutant in possible if (key := (mutant.name, suite.state(mutant))) in answers}
    _remember(found)
    if options.only == "*":
        report.PATH.write_text(report.render(report.Run(verdicts, found)))
    missed = [mutant.name for mutant in possible if not verdicts[mutant].noticed]
    return _say(missed, report.unargued(found))


def _judge(connection: _Connection, chosen: list[Mutant]) -> dict[Mutant, guards.Verdict]:
    """Ask the guards about those that they have not been asked about, and keep what they say."""
    there = guards.read(VERDICTS)
    left = [mutant for mutant in chosen if (mutant.name, suite.state(mutant)) not in there]
    for mutant, verdict in guards.judge(connection, left):
        guards.append(VERDICTS, mutant.name, suite.state(mutant), verdict)
    there = guards.read(VERDICTS)
    return {mutant: there[mutant.name, suite.state(mutant)] for mutant in chosen}


def _say(missed: list[str], unargued: list[str]) -> int:
    for what, names in (("the guards miss", missed), ("no test notices, and nobody has said why,", unargued)):
        for name in names:
            print(f"{what} {name}")
    return 1 if missed or unargued else 0


def _left(chosen: list[Mutant], options: argparse.Namespace) -> list[Mutant]:
    """Return those that the tests have not been asked about; with `--again` also survivors without an argument."""
    there = suite.read(ANSWERS)

    def is_left(mutant: Mutant) -> bool:
        answer = there.get((mutant.name, suite.state(mutant)))
        return answer is None or (options.again and answer.killer is None and report.argument(mutant) is None)

    return [mutant for mutant in chosen if is_left(mutant)]


def _ask_grants(connection: _Connection, left: list[Mutant]) -> None:
    for mutant in left:
        suite.append(ANSWERS, suite.Answer(mutant.name, suite.state(mutant), grants.killer(connection, mutant)))


def _ask(left: list[Mutant], options: argparse.Namespace) -> None:
    """Ask the tests, in several processes; what was found before takes one test and comes first."""
    known = _known()
    left = sorted(left, key=lambda mutant: mutant.name not in known)
    children = []
    for share in suite.shares(left, options.jobs):
        if (child := os.fork()) == 0:
            code = 1
            try:
                suite.ask(share, known, ANSWERS)
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                # Whatever happened: what the parent has open is not ours to close.
                os._exit(code)
        children.append(child)
    try:
        failed = [child for child in children if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0]
    except KeyboardInterrupt:
        # One sent to this process alone has not reached them.
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        raise
    if failed:
        raise RuntimeError(f"{len(failed)} of {options.jobs} jobs failed; run it again, it goes on where it was")


def _known() -> dict[str, str]:
    return dict(json.loads(report.KILLERS.read_text())) if report.KILLERS.exists() else {}


def _remember(tests: dict[Mutant, suite.Answer]) -> None:
    known = _known() | {mutant.name: answer.killer for mutant, answer in tests.items() if answer.killer is not None}
    report.KILLERS.write_text(json.dumps(known, indent=0, sort_keys=True, ensure_ascii=False) + "\n")


@contextmanager
def _migrated() -> Iterator[_Connection]:
    with server.throwaway(environment=KEEP_MEMORY) as running:
        target = Target(running.url, "mutants")
        migrate.upgrade(target)
        with target.connect(autocommit=True) as connection:
            yield connection


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="mutants whose names match, such as 'trigger *'")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--again", action="store_true", help="ask about unargued survivors again, after new tests")
    parser.add_argument("--guards-only", action="store_true", help="do not ask the tests")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
