"""The audit: all rules and each alone, clean and dirty, against one sequential scan of the three tables."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import data
from benchmarks.harness import Bench, Connection, Ratio, Subject, alternate, main, measured
from checks import violations

# Of how many quests one is broken: none, 0.001 % and 3 %.
DIRT = {"clean": 0, "0.001 % dirty": 100_000, "3 % dirty": 33}
LOOKUPS = 30
EVERYTHING = "integrity.audit()"
UNION = "integrity.violations"
# Above it the union of the views takes minutes, each round.
LARGE = 2_000_000
PASSES = ("suspect_pair", "suspect_quest", "suspect_duplicate")

# The status has to be read, so that no index and no visibility map can answer.
SCAN = "select count(*) filter (where status = 'nothing') from {}"


def scan(connection: Connection) -> None:
    """Read the three tables once, in parallel if the server sees fit."""
    with connection.transaction():
        for name in ("indexscan", "indexonlyscan", "bitmapscan"):
            connection.execute(f"set local enable_{name} = off")
        for table in data.TABLES:
            # Not prepared: a plan kept from a session with workers would go on using them.
            connection.execute(SCAN.format(table), prepare=False).fetchone()


def rules(connection: Connection) -> list[str]:
    """Return the rules in their order."""
    return [name for (name,) in connection.execute("select rule from integrity.rule order by position")]


def timed(run: Callable[[], Any]) -> Callable[[], float]:
    """Return a contender that says how many milliseconds it took."""

    def once() -> float:
        started = time.perf_counter()
        run()
        return (time.perf_counter() - started) * 1e3

    return once


def count(connection: Connection, relation: str) -> Callable[[], Any]:
    """Return what counts a view's rows, every column computed."""
    # count(*) would let the server leave out the columns that nobody looks at.
    query = f"select count(*), count(violation::text) from {relation} as violation"
    return lambda: connection.execute(query, prepare=False).fetchone()


def plans(connection: Connection, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield EXPLAIN (ANALYZE, BUFFERS) of each view."""
    for name in names:
        lines = connection.execute(
            f"explain (analyze, buffers, settings) select * from integrity.{name}", prepare=False
        ).fetchall()
        yield name, "\n".join(line for (line,) in lines)


def lookups(connection: Connection, applications: int) -> dict[str, list[float]]:
    """Audit random users and random quests, as the runner does, and return the milliseconds of each."""
    chosen = random.Random(1)  # noqa: S311 - a sample, not a secret
    people = [
        connection.execute("select person(%s)", [chosen.randrange(1, max(applications // 20, 1000))]).fetchone()
        for _ in range(LOOKUPS)
    ]
    samples: dict[str, list[float]] = {name: [] for name in ("--user", "--quest", "--user, CPU", "--quest, CPU")}
    for person in people:
        scopes = {
            "--user": violations.Scope(user=person[0] if person else None),
            "--quest": violations.Scope(quest=chosen.randrange(1, applications // 2)),
        }
        for name, scope in scopes.items():
            with measured(connection) as spent:
                violations.report(connection, scope)
            samples[name].append(spent.wall * 1e3)
            samples[f"{name}, CPU"].append(spent.cpu * 1e3)
    return samples


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure every size, at every degree of dirt."""
    for size in sizes:
        for dirt, stride in DIRT.items():
            data.app_database(bench, "audited")
            with bench.connect("audited") as connection:
                data.lived_in(connection, size, stride)
            bench.upgrade("audited", data.RULES_ONLY)
            bench.vacuum("audited")
            with bench.connect("audited") as connection:
                _measure(bench, connection, size, dirt)
            bench.drop("audited")


def _measure(bench: Bench, connection: Connection, size: int, dirt: str) -> None:
    title = f"{size:,} applications, {dirt}"
    found = connection.execute("select rule, violations from integrity.violation_summary").fetchall()
    bench.notes[title] = dict(found)
    contenders = {
        "scan": timed(lambda: scan(connection)),
        "audit": timed(count(connection, EVERYTHING)),
        "summary": timed(count(connection, "integrity.violation_summary")),
        "report": timed(lambda: violations.report(connection)),
    }
    ratios = [Ratio("audit", "scan", at_most=4), Ratio("summary", "scan", at_most=4)]
    if size > LARGE:
        ratios.append(Ratio("audit", at_most=12_000 if dirt == "3 % dirty" else 8_000))
    else:
        contenders["violations"] = timed(count(connection, UNION))
        ratios.append(Ratio("violations", "audit"))
    alternate(1, contenders)
    samples = alternate(bench.rounds, contenders)
    bench.add(title, "ms", samples, ratios)
    _one_process(bench, connection, title, with_union=size <= LARGE)
    names = rules(connection)
    each = alternate(
        1 if size > LARGE else min(bench.rounds, 3),
        {name: timed(count(connection, f"integrity.{name}")) for name in names},
    )
    bench.add(f"{title}: each rule", "ms", each)
    bench.add(
        f"{title}: one user, one quest",
        "ms",
        lookups(connection, size),
        [Ratio("--user", at_most=10), Ratio("--quest", at_most=10)],
    )
    text = "\n\n".join(f"-- {name}\n{plan}" for name, plan in plans(connection, [*names, *PASSES]))
    bench.texts[f"audit-plans-{size}-{dirt.split(' ')[0].replace('clean', '0')}"] = text + "\n"


def _one_process(bench: Bench, connection: Connection, title: str, *, with_union: bool) -> None:
    """Compare CPU time, which other people's work on the machine hardly touches; workers would escape the count."""
    connection.execute("set max_parallel_workers_per_gather = 0")
    # A function keeps its plan, workers and all.
    connection.execute("discard plans")

    def spent_on(run: Callable[[], Any]) -> Callable[[], float]:
        def once() -> float:
            with measured(connection) as spent:
                run()
            return spent.cpu * 1e3

        return once

    contenders = {
        "scan": spent_on(lambda: scan(connection)),
        "audit": spent_on(count(connection, EVERYTHING)),
        "suspects": spent_on(count(connection, "integrity.suspects()")),
    }
    ratios = [Ratio("audit", "scan", at_most=4)]
    if with_union:
        contenders["violations"] = spent_on(count(connection, UNION))
        ratios.append(Ratio("violations", "audit"))
    samples = alternate(bench.rounds, contenders)
    bench.add(f"{title}: CPU of one process", "ms", samples, ratios)
    connection.execute("reset max_parallel_workers_per_gather")


SUBJECT = Subject("audit", run, sizes=(1_000_000,), tiny=(20_000,), rounds=5)

if __name__ == "__main__":
    main(SUBJECT)
