"""Against what one would pick instead: triggers of django-pgtrigger that approve, and django-pghistory's event tables.

Both contenders start from one template: the same tables, indexes and rows. Theirs is `benchmarks.peer_app`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from benchmarks import contention, data, idle
from benchmarks.approval import ours as approve
from benchmarks.bulk import ours as approve_all
from benchmarks.harness import (
    ROOT,
    Bench,
    Connection,
    Ratio,
    Spent,
    Subject,
    alternate,
    alternate_spent,
    main,
    measured,
    scaled,
    throughput,
)
from benchmarks.size import DISK, WAL, number

CONTENDERS = ("ours", "theirs")
BULK = 3000
# PostgreSQL keeps a plan from its sixth use on.
UNTIL_PLANNED = 20

# Of each table a column that no rule looks at.
CHANGED = {
    "quests_quest": "description",
    "applications_application": "applied_at",
    "quests_questparticipant": "progress_notes",
}

Both = dict[str, Connection]
Writes = Mapping[str, idle.Write]


def databases(bench: Bench, quests: int, applications: int, *, history: bool = True) -> None:
    """Create `ours` and `theirs`, copies of one template but for what is compared.

    Args:
        bench: the server.
        quests: how many open quests there are.
        applications: how many pending applications to them.
        history: whether anybody has taken part before; analyzed either way.
    """
    for name in ("app", *CONTENDERS):
        bench.drop(name)
    data.app_database(bench, "app")
    with bench.connect("app") as connection:
        data.pending(connection, quests, applications, history=history)
    for name in CONTENDERS:
        bench.create(name, "app")
    bench.upgrade("ours")
    subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.peer_app", bench.url("theirs")], cwd=ROOT, check=True
    )
    bench.vacuum(*CONTENDERS, full=True)


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure one approval, many, writes that change nothing of ours, size, contention and the empty table."""
    (each,) = sizes
    # Enough that the second half seldom meets a page that has not been written since the checkpoint.
    written = 10 * each
    approvals = (bench.rounds + 1) * (each + BULK) + 2 * written + 100
    databases(bench, approvals, approvals)
    sessions = {name: bench.connect(name) for name in CONTENDERS}
    ids = dict.fromkeys(CONTENDERS, 1)
    _compare(bench, "one approval", sessions, each, 0.9, _one_by_one(ids, each))
    _compare(bench, f"{BULK:,} approvals in one UPDATE", sessions, BULK, 0.7, _at_once(ids))
    _idle(bench, sessions, each)
    _size(bench, sessions, ids, written)
    for session in sessions.values():
        session.close()
    for quests in (10, 10_000):
        _contend(bench, quests, max(each // 10, 20))
    _empty(bench, each)


Work = Callable[[str, Connection], None]


def _one_by_one(ids: dict[str, int], each: int) -> Work:
    def work(name: str, session: Connection) -> None:
        for application in range(ids[name], ids[name] + each):
            approve(session, application)
        ids[name] += each

    return work


def _at_once(ids: dict[str, int]) -> Work:
    def work(name: str, session: Connection) -> None:
        approve_all(session, ids[name], ids[name] + BULK - 1)
        ids[name] += BULK

    return work


def _spend(work: Work, name: str, session: Connection) -> Spent:
    with measured(session) as spent:
        work(name, session)
    return spent


def _keep(
    bench: Bench, case: str, wall: Mapping[str, Sequence[float]], cpu: Mapping[str, Sequence[float]], aim: float
) -> None:
    ratio = [Ratio(*CONTENDERS, at_most=aim)]
    bench.add(f"{case}, wall time", "µs", wall, ratio)
    bench.add(f"{case}, server CPU", "µs", cpu, ratio)


def _compare(bench: Bench, case: str, sessions: Both, operations: int, aim: float, work: Work) -> None:
    """Let both do the same work in turn; keep what an operation takes."""
    contenders = {
        name: lambda name=name, session=session: _spend(work, name, session) for name, session in sessions.items()
    }
    wall, cpu = alternate_spent(bench.rounds, contenders)
    _keep(bench, case, scaled(wall, 1e6 / operations), scaled(cpu, 1e6 / operations), aim)


def _idle(bench: Bench, sessions: Both, each: int) -> None:
    """Write what no rule looks at: one column, whole rows as Django saves them, and new pending applications."""
    for table, column in CHANGED.items():
        found = sessions["ours"].execute(f"select id from {table} order by id desc limit %s", [each])
        rows = [row for (row,) in found]
        ways: dict[str, Callable[[Connection], idle.Write]] = {
            f"{table}: {column} alone": lambda _, table=table, column=column: idle.one_column(table, column),
            f"{table}: whole row, new {column}": lambda session, table=table, column=column: idle.whole_row(
                session, table, column
            ),
            f"{table}: whole row as it is": lambda session, table=table: idle.whole_row(session, table),
        }
        for case, way in ways.items():
            writes = {name: way(session) for name, session in sessions.items()}

            def work(
                name: str, session: Connection, writes: Writes = writes, rows: Sequence[int] = tuple(rows)
            ) -> None:
                for row in rows:
                    writes[name](session, row)

            # The first round reads the instances that the others save.
            _compare(bench, case, sessions, len(rows), 0.6, work)
    new = {name: idle.writes(session)[idle.NEW][1] for name, session in sessions.items()}

    def apply(name: str, session: Connection) -> None:
        for step in range(each):
            new[name](session, step + 2)

    _compare(bench, idle.NEW, sessions, each, 0.6, apply)


def _size(bench: Bench, sessions: Both, ids: dict[str, int], approvals: int) -> None:
    """Keep what an approval writes to the WAL and adds to the database, at first after a checkpoint and later."""
    sessions["ours"].execute("checkpoint")
    for phase in ("right after a checkpoint", "later"):
        wal: dict[str, list[float]] = {}
        disk: dict[str, list[float]] = {}
        for name, session in sessions.items():
            log, size = number(session, WAL), number(session, DISK)
            _one_by_one(ids, approvals)(name, session)
            wal[name] = [(number(session, WAL) - log) / approvals]
            disk[name] = [(number(session, DISK) - size) / approvals]
        ratio = [Ratio(*CONTENDERS, at_most=0.8)]
        bench.add(f"WAL of an approval, {phase}", "bytes", wal, ratio)
        bench.add(f"disk of an approval, {phase}", "bytes", disk, ratio)


def _contend(bench: Bench, quests: int, each: int) -> None:
    """Approve and kick with sixteen clients at once."""
    step = (each + 2) * contention.CLIENTS
    databases(bench, quests, step * (bench.rounds + 1))
    base = {name: count(1, step) for name in CONTENDERS}

    def once(name: str) -> float:
        clients = str(contention.CLIENTS)
        tries = ("--max-tries", str(contention.TRIES))
        variables = ("-D", f"base={next(base[name])}", "-D", "k=0", "-D", f"clients={clients}")
        return throughput(
            bench.pgbench(name, contention.OURS, "-c", clients, "-j", "2", "-t", str(each), *tries, *variables)
        )

    samples = alternate(bench.rounds, {name: lambda name=name: once(name) for name in CONTENDERS})
    case = f"{contention.CLIENTS} clients, approvals and kicks on {quests:,} quests"
    bench.add(case, "transactions/s", samples, [Ratio(*CONTENDERS, at_least=1.0)])


def _empty(bench: Bench, each: int) -> None:
    """Approve where VACUUM ANALYZE ran before the first participant came, and nothing has analyzed since."""
    databases(bench, 2 * BULK + each, 2 * BULK + each, history=False)
    # How many the session has approved before, one by one.
    cases = (
        (f"{BULK:,} in one UPDATE, new session", BULK, 0, 1.0),
        ("one approval", each, 0, 1.2),
        (f"{BULK:,} in one UPDATE, after {UNTIL_PLANNED} single ones", BULK, UNTIL_PLANNED, 1.0),
    )
    for case, operations, before, aim in cases:

        def once(name: str, operations: int = operations, before: int = before) -> Spent:
            copy = f"{name}_copy"
            bench.create(copy, name)
            ids = {name: 1}
            with bench.connect(copy) as session:
                _one_by_one(ids, before)(name, session)
                spent = _spend(_at_once(ids) if operations == BULK else _one_by_one(ids, operations), name, session)
            bench.drop(copy)
            return spent

        contenders = {name: lambda name=name, once=once: once(name) for name in CONTENDERS}
        wall, cpu = alternate_spent(bench.rounds, contenders, warm_up=False)
        case = f"analyzed while empty: {case}"
        _keep(bench, case, scaled(wall, 1e6 / operations), scaled(cpu, 1e6 / operations), aim)


SUBJECT = Subject("peer", run, sizes=(500,), tiny=(50,), rounds=7)

if __name__ == "__main__":
    main(SUBJECT)
