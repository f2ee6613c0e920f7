"""The first question: do the tests notice a mutant? The ordinary tests, on databases whose layer is mutated.

A job keeps one server and has everything imported; each mutant gets a fork of it that runs pytest until the first test
fails. The tests that found earlier mutants of the same object go first.
"""

import hashlib
import importlib
import json
import os
import random
import re
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from checks import migrate, server
from checks.target import Target
from tests.conftest import SERVER_VARIABLE, keep_roles
from tests.mutants.catalog import Mutant
from tests.support import mutation
from tests.support.database import KEEP_MEMORY

ROOT = Path(__file__).resolve().parents[2]
# An endless loop is an answer too.
SECONDS_PER_TEST = 60
CRASHED = 70
NOTHING = "select"
# Objects that work while a database is migrated, when there are no mutants yet; the guards' own; and what passes on
# what the guards say, so that every mutant shows in it.
BEFORE = re.compile(
    r"integrity\.(guard_|role_|owner_obstacle|add_rule|assemble_violations|alter_owners|\w+_roles|\w+_role_grants|"
    r"law_obstacles|audit_|record_audit|retain_audits|metric|schema_mismatches|\w+_guards|backfill_|prepare_event_partitions|protect_event_partition)"
)
KEPT = ["postgres", "template0", "template1", mutation.BASE]
SEED = 20261123
RECENT = 8
OFTEN = 3

# Tests that do not say what the layer does but compare what it is made of with a list: they would notice everything.
# Others never meet the mutant: they migrate in a process of their own, or go back and forth between revisions. And a
# few take so long that they cannot be asked a thousand times.
NOT_ASKED = frozenset(
    (
        "audit/test_plans.py",
        "guards/test_guards.py",
        "guards/test_threats.py",
        "history/test_history_command.py",
        "history/test_metrics_command.py",
        "history/test_report_command.py",
        "law/test_catalog.py",
        "law/test_saboteurs.py",
        "mechanism/test_app_schema.py",
        "mechanism/test_dump_restore.py",
        "runner/test_documents.py",
        "runner/test_migrate.py",
        "runner/test_quick.py",
        "runner/test_readme.py",
        "runner/test_schedules.py",
        "runner/test_secrets.py",
        "runner/test_server.py",
        "runner/test_server_command.py",
        "runner/test_sql_style.py",
        "runner/test_target.py",
        "runner/test_target_messages.py",
        "runner/test_wheel.py",
    )
)
# The same for single tests.
NOT_THESE = (
    "tests/law/test_bad_input.py::test_statement_of_many_rows",
    "tests/events/test_event_log.py::TestAppendOnly::test_every_partition_has_both_triggers_always_on",
    # The command in a process of its own, where the guards find every mutant.
    "tests/runner/test_formats.py::test_memory_does_not_grow",
)
FOLDERS = ("law", "mechanism", "rules", "audit", "repair", "events", "guards", "history", "runner")
# Where to look at all, by what the object is for; modules that name it come before, in any folder.
WRITES = (
    "law/test_bad_input.py",
    "law/test_refused.py",
    "law/test_statuses.py",
    "mechanism/",
    "events/test_event_log.py",
)
READS = ("rules/", "audit/", "repair/", "events/", "history/", "law/test_law_status.py", "law/test_bookkeeping.py")
REPAIRS = ("repair/", "runner/test_operator.py")
PATHS = ("runner/test_search_path.py",)
# Of one test with many cases that do not name the object; only modules that name it are asked all of them.
CASES = 2
# Only modules that name the object are asked tests that take longer: most mutants are found without them.
SLOW_SECONDS = 0.7
# What is refused at one isolation level and not at another is for the races.
ONE_LEVEL = "not repeatable_read and not serializable"


@dataclass(frozen=True)
class Answer:
    """What the tests said of a mutant.

    Args:
        mutant: Its name.
        state: What it was asked of: a digest of the mutant and of sql/.
        killer: The first test that failed; nothing when all passed.
    """

    mutant: str
    state: str
    killer: str | None


@dataclass(frozen=True)
class _Round:
    """Tests to ask together, until one fails.

    Args:
        nodes: Modules or tests.
        whole: Whether to ask slow tests and all cases too.
    """

    nodes: Sequence[str]
    whole: bool


class _First:
    """Puts tests that are about an object first, then a few cases of each; keeps the first failure.

    Args:
        word: What the object is called.
        whole: Whether to keep slow tests and all cases, and put them last.
        seconds: The least that tests took, without their cases; what is learned is added.
    """

    def __init__(self, word: str, whole: bool, seconds: dict[str, float]) -> None:
        self._word = re.compile(rf"\b{re.escape(word)}\b")
        self._whole = whole
        self.seconds = seconds
        self.failed: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Reorder, and of cases that do not name the object keep a few."""
        seen: Counter[str] = Counter()
        ranked: list[tuple[bool, bool, pytest.Item]] = []
        for item in items:
            test = item.nodeid.partition("[")[0]
            slow = self.seconds.get(test, 0) > SLOW_SECONDS
            if slow and not self._whole:
                continue
            case = repr(item.callspec.params) if hasattr(item, "callspec") else ""
            if self._word.search(case):
                ranked.append((slow, False, item))
                continue
            more = seen[test] >= CASES
            if self._whole or not more:
                ranked.append((slow or more, True, item))
            seen[test] += 1
        items[:] = [item for *_, item in sorted(ranked, key=lambda each: each[:2])]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            test = report.nodeid.partition("[")[0]
            # The least, since a busy machine makes every test slow.
            self.seconds[test] = min(report.duration, self.seconds.get(test, report.duration))
        if report.failed:
            self.failed.append(report.nodeid)


def state(mutant: Mutant) -> str:
    """Return a digest of all that an answer depends on, but for the tests."""
    return hashlib.sha256(mutant.sql.encode() + _sql()).hexdigest()[:16]


@cache
def _sql() -> bytes:
    return b"".join(file.read_bytes() for file in sorted((ROOT / "sql").rglob("*.sql")))


def asked(mutant: Mutant) -> bool:
    """Say whether a mutant meets the tests: what only migrations and guards use has done its work before it could."""
    return BEFORE.search(mutant.subject) is None and mutant.kind != "grant" and mutant.what != "not valid"


def modules(mutant: Mutant) -> dict[str, int]:
    """Return the test modules to ask, and how often each names the mutant's object; the most often first."""
    word = _word(mutant)
    about = _about(mutant.kind, word)
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            name = f"{folder}/{path.name}"
            named = len(re.findall(rf"\b{re.escape(word)}\b", path.read_text())) + 100 * (path.stem == f"test_{word}")
            if name not in NOT_ASKED and (named or name.startswith(about)):
                found[f"tests/{name}"] = named
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _word(mutant: Mutant) -> str:
    return re.sub(r"^integrity\.|\(.*| on .*", "", mutant.subject)


def _about(kind: str, word: str) -> tuple[str, ...]:
    if kind in ("constraint", "trigger"):
        return WRITES
    if kind == "view":
        return REPAIRS if word.startswith("repair") else READS
    if not re.match(r"repair|undo|plan|restore|quest_rows|start|record_changes|operate", word):
        return (*WRITES, *PATHS)
    return (*REPAIRS, f"rules/test_{word.removeprefix('repair_')}.py", "events/test_event_log.py", *PATHS)


def ask(mutants: Iterable[Mutant], known: dict[str, str], answers: Path) -> None:
    """Ask the tests about each mutant, on one server, and append the answers to a file of JSON lines.

    Args:
        mutants: In the order in which to ask.
        known: The test that once found a mutant, by the mutant's name: asked first.
        answers: Where to append.

    Raises:
        RuntimeError: pytest itself failed, or a test that fails without any mutant.
    """
    recent: dict[str, list[str]] = defaultdict(list)
    often: dict[str, Counter[str]] = defaultdict(Counter)
    sound: set[str] = set()
    _import_all()
    with _server() as running, tempfile.TemporaryDirectory() as folder:
        os.environ[mutation.VARIABLE] = str(Path(folder) / "mutation.sql")
        for mutant in mutants:
            found = recent[mutant.subject]
            likely = [*found[:RECENT], *(node for node, _ in often[mutant.kind].most_common(OFTEN))]
            killer = _killer(running, mutant, _rounds(mutant, known, likely))
            if killer is not None:
                alone = _Round([killer], whole=True)
                if killer not in sound and _killer(running, replace(mutant, sql=NOTHING), [alone]) is not None:
                    raise RuntimeError(f"{killer} fails without a mutant too")
                sound.add(killer)
                often[mutant.kind][killer] += 1
                found[:] = [killer, *(node for node in found if node != killer)]
            append(answers, Answer(mutant.name, state(mutant), killer))


@contextmanager
def _server() -> Iterator[server.Server]:
    """Run the server that the tests are to use, with a migrated database to copy."""
    with server.throwaway(environment=KEEP_MEMORY) as running:
        keep_roles(running)
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(f"create database {mutation.BASE}")
        migrate.upgrade(Target(make_conninfo(running.url, dbname=mutation.BASE), "mutants"))
        os.environ[SERVER_VARIABLE] = f"{running.sockets}:{running.port}"
        yield running


def _killer(running: server.Server, mutant: Mutant, rounds: Iterable[_Round]) -> str | None:
    """Return the first test that fails on the mutant, of the rounds' first that has one."""
    mutated = Path(os.environ[mutation.VARIABLE])
    mutated.write_text(mutant.sql)
    for each in rounds:
        _drop_databases(running)
        if (killer := _first_failure(each, _word(mutant), mutated.with_name("failed"))) is not None:
            return killer
    return None


def read(answers: Path) -> dict[tuple[str, str], Answer]:
    """Return the answers in a file by mutant and state; the last one counts."""
    if not answers.exists():
        return {}
    found = (Answer(**json.loads(line)) for line in answers.read_text().splitlines())
    return {(answer.mutant, answer.state): answer for answer in found}


def in_turn(mutants: Iterable[Mutant]) -> list[Mutant]:
    """Order mutants so that every object has its turn before the next one of the same object.

    A run that is cut short has then asked about some of everything, and always the same.
    """
    draw = random.Random(SEED)
    by_object: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in mutants:
        by_object.setdefault((mutant.kind, mutant.subject), []).append(mutant)
    for each in by_object.values():
        draw.shuffle(each)
    return [mutant for turn in zip_longest(*by_object.values()) for mutant in turn if mutant is not None]


def shares(mutants: Sequence[Mutant], jobs: int) -> list[list[Mutant]]:
    """Divide the mutants among jobs, keeping those of one object together."""
    divided: list[list[Mutant]] = [[] for _ in range(jobs)]
    subjects = list(dict.fromkeys((mutant.kind, mutant.subject) for mutant in mutants))
    by_subject = {subject: number % jobs for number, subject in enumerate(subjects)}
    for mutant in mutants:
        divided[by_subject[mutant.kind, mutant.subject]].append(mutant)
    return divided


def _rounds(mutant: Mutant, known: dict[str, str], likely: Sequence[str]) -> Iterator[_Round]:
    if mutant.name in known:
        yield _Round([known[mutant.name]], whole=True)
    if left := [node for node in dict.fromkeys(likely) if node != known.get(mutant.name)]:
        yield _Round(left, whole=True)
    found = modules(mutant)
    yield _Round(list(found), whole=False)
    if about := [module for module, named in found.items() if named]:
        yield _Round(about, whole=True)


def _first_failure(these: _Round, word: str, told: Path) -> str | None:
    """Run tests in a fork of this process until one fails; return its node id."""
    told.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code = CRASHED
        try:
            code = _run(these, word, told)
        except BaseException:
            traceback.print_exc()
        finally:
            # Whatever happened: what the parent has open is not ours to close.
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if told.exists():
        return told.read_text()
    # A node that is no more is no error: the test was renamed since.
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        output = told.with_name("output").read_text()
        raise RuntimeError(f"pytest ended with {code} and named no test: {' '.join(these.nodes)}\n{output[-2000:]}")
    return None


def _run(these: _Round, word: str, told: Path) -> int:
    output = os.open(told.with_name("output"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    learned = told.with_name("seconds")
    first = _First(word, these.whole, json.loads(learned.read_text()) if learned.exists() else {})
    options = [
        "-q",
        "-x",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-o",
        f"timeout={SECONDS_PER_TEST}",
        # A session that a test leaves open says nothing about the mutant, and at the end no test is left to fail.
        "-W",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ]
    options += ["-k", ONE_LEVEL, *(f"--deselect={node}" for node in NOT_THESE)]
    code = int(pytest.main([*options, *these.nodes], plugins=[first]))
    learned.write_text(json.dumps(first.seconds))
    if first.failed:
        told.write_text(first.failed[0])
    return code


def _import_all() -> None:
    """Import every test module once, for all forks."""
    for folder in FOLDERS:
        for path in sorted((ROOT / "tests" / folder).glob("*.py")):
            importlib.import_module(f"tests.{folder}.{path.stem}")


def _drop_databases(running: server.Server) -> None:
    """Drop what tests that were cut short left behind."""
    with psycopg.connect(running.url, autocommit=True) as connection:
        names = connection.execute("select datname from pg_database where datname <> all(%s)", [KEPT])
        for (name,) in names.fetchall():
            name = sql.Identifier(name)
            connection.execute(sql.SQL("alter database {} is_template false").format(name))
            connection.execute(sql.SQL("drop database {} with (force)").format(name))


def append(answers: Path, answer: Answer) -> None:
    """Add an answer to a file."""
    with answers.open("a") as file:
        file.write(json.dumps(asdict(answer)) + "\n")
