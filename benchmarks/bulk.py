"""Bulk: one UPDATE that approves many, against the three set-based statements without the layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import data
from benchmarks.harness import Bench, Connection, Ratio, Spent, Subject, alternate_spent, main, measured, scaled

ON_ONE_QUEST = 1000
TIMED_IN_PROFILE = 1000

OURS = "update applications_application set status = 'approved' where id between %(first)s and %(last)s"

BY_HAND = (
    "update applications_application set status = 'approved', reviewed_at = now()"
    " where id between %(first)s and %(last)s",
    """
    insert into quests_questparticipant
      (quest_id, user_id, status, joined_at, progress_notes, application_id, application_date, reviewed_at)
    select quest_id, applicant_id, 'joined', now(), '', id, applied_at, reviewed_at
    from applications_application
    where id between %(first)s and %(last)s
    """,
    """
    update quests_quest as quest
    set status = 'in-progress', assigned_to_id = first.applicant_id
    from (
      select distinct on (quest_id) quest_id, applicant_id
      from applications_application
      where id between %(first)s and %(last)s
      order by quest_id, id
    ) as first
    where quest.id = first.quest_id
    """,
)

# Applications of as many users to one quest, which is open.
CROWD = """
insert into applications_application (id, status, applied_at, applicant_id, quest_id) overriding system value
select %(first)s + number, 'pending', '2025-01-02', person(number + 1), %(quest)s
from generate_series(0, %(number)s - 1) as number
"""


def ours(connection: Connection, first: int, last: int) -> None:
    """Approve with the layer."""
    connection.execute(OURS, {"first": first, "last": last}, prepare=False)


def by_hand(connection: Connection, first: int, last: int) -> None:
    """Approve without it."""
    with connection.transaction():
        for statement in BY_HAND:
            connection.execute(statement, {"first": first, "last": last}, prepare=False)


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure every size, and many approvals on one quest; keep where our time goes."""
    rounds = {size: bench.rounds if size <= 10_000 else min(bench.rounds, 3) for size in sizes}
    total = sum((rounds[size] + (size <= 10_000)) * size for size in sizes) + TIMED_IN_PROFILE
    data.app_database(bench, "app")
    quest = total + 1
    crowds = bench.rounds + 1
    with bench.connect("app") as connection:
        data.pending(connection, total + crowds, total)
        first = total + crowds + data.HISTORY + 1
        for number in range(crowds):
            values = {"first": first + number * ON_ONE_QUEST, "number": ON_ONE_QUEST, "quest": quest + number}
            connection.execute(CROWD, values, prepare=False)
    bench.create("by_hand", "app")
    bench.create("ours", "app")
    bench.upgrade("ours")
    bench.vacuum("by_hand", "ours", full=True)
    ways = {"ours": (bench.connect("ours"), ours), "by_hand": (bench.connect("by_hand"), by_hand)}
    taken = dict.fromkeys(ways, 1)
    per_row: dict[int, float] = {}
    for size in sizes:
        per_row[size] = _compare(bench, f"{size:,} approvals on as many quests", size, ways, taken, rounds[size])
    _profile(bench, ways["ours"][0], taken["ours"])
    taken = dict.fromkeys(ways, first)
    _compare(bench, f"{ON_ONE_QUEST:,} approvals on one quest", ON_ONE_QUEST, ways, taken, bench.rounds)
    if 10_000 in per_row and max(sizes) > 10_000:
        growth = per_row[max(sizes)] / per_row[10_000]
        bench.add(
            f"our CPU time per row, {max(sizes):,} to 10,000", "", {"growth": [growth]}, [Ratio("growth", at_most=1.3)]
        )


def _compare(
    bench: Bench,
    case: str,
    size: int,
    ways: dict[str, tuple[Connection, Callable[[Connection, int, int], None]]],
    taken: dict[str, int],
    rounds: int,
) -> float:
    """Approve `size` applications with each contender in turn; return our median CPU time per row."""

    def contender(name: str) -> Callable[[], Spent]:
        connection, approve = ways[name]

        def once() -> Spent:
            first = taken[name]
            taken[name] += size
            with measured(connection) as spent:
                approve(connection, first, first + size - 1)
            return spent

        return once

    wall, cpu = alternate_spent(rounds, {name: contender(name) for name in ways}, warm_up=size <= 10_000)
    bench.add(f"{case}, wall time", "µs/row", scaled(wall, 1e6 / size), [Ratio("ours", "by_hand", at_most=2.5)])
    found = bench.add(f"{case}, server CPU", "µs/row", scaled(cpu, 1e6 / size), [Ratio("ours", "by_hand", at_most=2.5)])
    return sorted(found.samples["ours"])[len(found.samples["ours"]) // 2]


def _profile(bench: Bench, connection: Connection, first: int) -> None:
    """Keep the time of each trigger and function of 1,000 approvals."""
    connection.execute("set track_functions = 'all'")
    with connection.transaction(force_rollback=True):
        lines = connection.execute(
            f"explain (analyze, buffers, wal) {OURS}",
            {"first": first, "last": first + TIMED_IN_PROFILE - 1},
            prepare=False,
        ).fetchall()
    functions = connection.execute(
        "select funcname, calls, round(total_time::numeric, 1), round(self_time::numeric, 1)"
        " from pg_stat_xact_user_functions union all"
        " select funcname, calls, round(total_time::numeric, 1), round(self_time::numeric, 1)"
        " from pg_stat_user_functions where funcname is not null order by 4 desc"
    ).fetchall()
    connection.execute("reset track_functions")
    text = [line for (line,) in lines]
    text += ["", "function, calls, total ms, self ms", *(", ".join(map(str, row)) for row in functions)]
    bench.texts["bulk-triggers"] = "\n".join(text) + "\n"


SUBJECT = Subject("bulk", run, sizes=(1000, 10_000, 100_000), tiny=(100, 1000))

if __name__ == "__main__":
    main(SUBJECT)
