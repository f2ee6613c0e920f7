"""docs/mutants.md: what was asked, what was answered, and why the survivors may live."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.catalog import Mutant
from tests.mutants.guards import Verdict
from tests.mutants.suite import ROOT, Answer, asked

PATH = ROOT / "docs" / "mutants.md"
KILLERS = Path(__file__).with_name("killers.json")
# By a mutant's name, or by what several have in common, with * for the rest: why it is right that no test notices.
# EQUIVALENT are those that change nothing anybody could see; the others would be for tests that are not asked.
ARGUMENTS = Path(__file__).with_name("arguments.json")
EQUIVALENT = "equivalent"
KINDS = ("constraint", "trigger", "function", "procedure", "view", "column", "grant")
OBJECT = re.compile(r"^\| (\w+) \| `([^`]+)` \| \d+ \|", re.MULTILINE)
TOP = """# Mutants

<!-- Written by `make mutants`. -->

Mutation testing of the layer. `make mutants` weakens one object at a time and asks two questions about each mutant: do
the guards notice (`quest-integrity guards` exits with 3), and does an ordinary test fail?

The mutants are generated from the catalog, so a new trigger or constraint has some at once:

- **constraints**: dropped; not valid; a CHECK always true, or without one operand or one value of a list; a key
  deferrable, on one column more or one less; a foreign key not deferrable, initially immediate, cascading, on one
  column less, without its action;
- **triggers**: dropped; disabled; for replicas only; without one event, one column of UPDATE OF, the condition or one
  operand of it; before instead of after and the other way round;
- **functions**: emptied; without one statement, one operand of a condition, one value of a list, one row lock; a single
  condition turned round or taken away; without a setting such as search_path; definer and invoker exchanged;
- **views**: dropped; finding nothing; without one branch of a union, one operand or, in a rule, one value;
- **columns** of the layer's own tables: without their default or identity;
- **grants**: each revoked; everything taken from the owner; granted to public.

A test compares the list of objects below with the catalog of today, and asks the guards about a few mutants of each.

## Answers

The guards are asked on one database, each mutant rolled back. For the tests, the layer is mutated right after the
migration (`tests/support/mutation.py`), and the ordinary tests run until one fails. Tests that compare the catalog with
a list would notice everything, so they are not run (`NOT_ASKED` in `tests/mutants/suite.py`), and the guards are
silenced: only what the layer *does* counts. Of a test with many cases, those that name the object are run, and a few
others. When none fails, modules that name the object are run whole, slow tests included. For grants, every privilege
of the object is tried by every role, as `tests/roles/test_tried.py` does.
"""
NOT_ASKED = """
The tests are not run against every mutant that PostgreSQL allows:

- **not valid**: PostgreSQL checks new rows against such a constraint as against any other, so no write can tell. The
  guards can.
- **Objects that have done their work before a mutant can exist**: the functions and views that only migrations use
  (roles, rules, backfill, the fit check, partitions), and the guards' own. `tests/migrations`, `tests/adoption`,
  `tests/roles` and `tests/guards/test_guards.py` test those. Here only the guards are asked.
- **The history and the metrics**: they report what the guards find, so every mutant would show in them.

All folders of tests are run except `tests/migrations`, `tests/roles`, `tests/adoption` and `tests/races`. The last
would detect a missing lock, but takes too long to run a thousand times.
"""


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Args:
        verdicts: What the guards said, of every mutant.
        answers: What the tests said, of those they were asked about.
    """

    verdicts: dict[Mutant, Verdict]
    answers: dict[Mutant, Answer]


def render(run: Run) -> str:
    """Return the whole document."""
    return "\n".join([TOP, *_summary(run), NOT_ASKED, *_survivors(run), *_refused(run), *_objects(run)]) + "\n"


def listed(text: str) -> set[tuple[str, str]]:
    """Return the objects that a document lists, as kind and name."""
    return set(OBJECT.findall(text))


def unargued(answers: dict[Mutant, Answer]) -> list[str]:
    """Return the names of the survivors that nobody has argued for."""
    return [mutant.name for mutant in _alive(answers) if argument(mutant) is None]


def argument(mutant: Mutant) -> tuple[str, str] | None:
    """Return of what sort a survivor is and why it may live, if somebody has said so."""
    for sort, arguments in json.loads(ARGUMENTS.read_text()).items():
        for name, why in arguments.items():
            if _is_about(name, mutant):
                return sort, why
    return None


def idle_arguments(mutants: Collection[Mutant]) -> list[str]:
    """Return the arguments that are about none of these mutants."""
    names = (name for arguments in json.loads(ARGUMENTS.read_text()).values() for name in arguments)
    return [name for name in names if not any(_is_about(name, mutant) for mutant in mutants)]


def _is_about(argument: str, mutant: Mutant) -> bool:
    return re.fullmatch(".*".join(map(re.escape, argument.split("*"))), mutant.name) is not None


def _alive(answers: dict[Mutant, Answer]) -> list[Mutant]:
    return [mutant for mutant, answer in answers.items() if answer.killer is None]


def _summary(run: Run) -> Iterator[str]:
    yield "| of | objects | mutants | PostgreSQL refuses | guards notice | tests asked | tests notice | survive |"
    yield "|---|---|---|---|---|---|---|---|"
    for kind in KINDS:
        yield _row(kind, run, [mutant for mutant in run.verdicts if mutant.kind == kind])
    yield _row("**all**", run, list(run.verdicts))
    yield _score(run)
    left = sum(1 for mutant, verdict in run.verdicts.items() if _open(mutant, verdict, run))
    if left:
        yield f"\nThe tests can meet {left} more and have not been asked about them yet: `make mutants` goes on there."


def _score(run: Run) -> str:
    alive = _alive(run.answers)
    equivalent = sum((found := argument(mutant)) is not None and found[0] == EQUIVALENT for mutant in alive)
    killed = len(run.answers) - len(alive)
    return (
        f"\nOf the {len(alive)} survivors {equivalent} are equivalent, which no test could notice. The mutation score, "
        f"killed of those that are not: {_share(killed, len(run.answers) - equivalent)}."
    )


def _row(name: str, run: Run, mutants: list[Mutant]) -> str:
    objects = {(mutant.kind, mutant.subject) for mutant in mutants}
    possible = [mutant for mutant in mutants if run.verdicts[mutant].refused is None]
    noticed = sum(run.verdicts[mutant].noticed for mutant in possible)
    answers = [run.answers[mutant] for mutant in possible if mutant in run.answers]
    killed = sum(answer.killer is not None for answer in answers)
    return (
        f"| {name} | {len(objects)} | {len(mutants)} | {len(mutants) - len(possible)} "
        f"| {_share(noticed, len(possible))} | {len(answers)} | {_share(killed, len(answers))} "
        f"| {len(answers) - killed} |"
    )


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "-"


def _open(mutant: Mutant, verdict: Verdict, run: Run) -> bool:
    return verdict.refused is None and asked(mutant) and mutant not in run.answers


def _survivors(run: Run) -> Iterator[str]:
    yield "## Survivors of the tests\n"
    alive = _alive(run.answers)
    if not alive:
        yield "None, of those that the tests were asked about.\n"
        return
    yield "The guards notice every one of them.\n\n| mutant | is | why no test notices |\n|---|---|---|"
    for mutant in alive:
        sort, why = argument(mutant) or ("", "**nobody has said why**")
        yield f"| {mutant.kind} `{mutant.subject}`: {mutant.what} | {sort} | {why} |"
    yield ""


def _refused(run: Run) -> Iterator[str]:
    yield "## Refused by PostgreSQL\n"
    yield "Mutants that do not compile, or that the layer's rows or other constraints do not allow.\n"
    refusals = Counter(verdict.refused for verdict in run.verdicts.values() if verdict.refused is not None)
    yield "| message | mutants |\n|---|---|"
    for message, count in sorted(refusals.items()):
        yield f"| {message} | {count} |"
    yield ""


def _objects(run: Run) -> Iterator[str]:
    yield "## Every object and its mutants\n"
    yield "One partition of the event log stands for all.\n"
    yield "| of | object | mutants | guards notice | tests notice |\n|---|---|---|---|---|"
    found: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in run.verdicts:
        found.setdefault((mutant.kind, mutant.subject), []).append(mutant)
    for (kind, subject), mutants in found.items():
        possible = [mutant for mutant in mutants if run.verdicts[mutant].refused is None]
        noticed = sum(run.verdicts[mutant].noticed for mutant in possible)
        yield f"| {kind} | `{subject}` | {len(mutants)} | {noticed} of {len(possible)} | {_killed(run, possible)} |"


def _killed(run: Run, mutants: Iterable[Mutant]) -> str:
    answers = [run.answers[mutant] for mutant in mutants if mutant in run.answers]
    return f"{sum(answer.killer is not None for answer in answers)} of {len(answers)}" if answers else "-"
