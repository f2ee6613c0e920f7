"""Contention: sixteen clients approve and kick on 1, 10 and 10,000 quests; nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import data
from benchmarks.approval import NEXT
from benchmarks.harness import Bench, Ratio, Subject, alternate, found_number, main, throughput

CLIENTS = 16
QUESTS = (1, 10, 10_000)
TRIES = 50

# Every second application is kicked again by its client.
OURS = f"""{NEXT}
update applications_application set status = 'approved' where id = :i;
\\if :k % 2
update applications_application set status = 'kicked' where id = :i;
\\endif
"""

BY_HAND = f"""{NEXT}
begin;
update applications_application set status = 'approved', reviewed_at = now() where id = :i
  returning quest_id as quest, applicant_id as person \\gset
select id from quests_questparticipant where quest_id = :quest and user_id = :person;
select count(*) from quests_questparticipant where quest_id = :quest;
insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
  values ('joined', now(), '', :quest, :person);
update quests_quest set status = 'in-progress', assigned_to_id = :person where id = :quest;
commit;
\\if :k % 2
begin;
update applications_application set status = 'kicked', reviewed_at = now() where id = :i
  returning quest_id as quest, applicant_id as person \\gset
update quests_questparticipant set status = 'dropped' where quest_id = :quest and user_id = :person;
update quests_quest set status = 'open', assigned_to_id = null where id = :quest and assigned_to_id = :person;
commit;
\\endif
"""

SCRIPTS = {"ours": OURS, "by_hand": BY_HAND}

LOST = """
select
  abs(count(*) filter (where status = 'approved') - %(approved)s)
  + abs(count(*) filter (where status = 'kicked') - %(kicked)s)
from applications_application
where id <= %(last)s
"""

ERRORS = "select coalesce(sum(violations), 0)::int from integrity.violation_summary where severity = 'error'"


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure each number of quests; `sizes` is the number of transactions per client and round."""
    (each,) = sizes
    for quests in QUESTS:
        applications = (each + 2) * CLIENTS * (bench.rounds + 1)
        data.app_database(bench, "app")
        with bench.connect("app") as connection:
            data.pending(connection, quests, applications)
        bench.create("by_hand", "app")
        bench.upgrade("by_hand", data.RULES_ONLY)
        bench.create("ours", "app")
        bench.upgrade("ours")
        bench.vacuum("by_hand", "ours", full=True)
        _measure(bench, quests, each)
        for name in ("app", *SCRIPTS):
            bench.drop(name)


def _measure(bench: Bench, quests: int, each: int) -> None:
    used = dict.fromkeys(SCRIPTS, 1)
    counts = {
        name: {"serialization failures": 0.0, "deadlocks": 0.0, "retried": 0.0, "failed": 0.0} for name in SCRIPTS
    }

    def contender(name: str) -> Callable[[], float]:
        def once() -> float:
            base = used[name]
            used[name] += (each + 2) * CLIENTS
            out = bench.pgbench(
                name,
                SCRIPTS[name],
                *("-c", str(CLIENTS), "-j", "2", "-t", str(each), "--max-tries", str(TRIES), "--failures-detailed"),
                *("-D", f"base={base}", "-D", "k=0", "-D", f"clients={CLIENTS}"),
            )
            for what, pattern in (
                ("serialization failures", r"number of serialization failures: (\d+)"),
                ("deadlocks", r"number of deadlock failures: (\d+)"),
                ("retried", r"total number of retries: (\d+)"),
                ("failed", r"number of failed transactions: (\d+)"),
            ):
                counts[name][what] += found_number(pattern, out)
            return throughput(out)

        return once

    samples = alternate(bench.rounds, {name: contender(name) for name in SCRIPTS})
    case = f"{CLIENTS} clients, approvals and kicks on {quests:,} quest{'s' * (quests > 1)}"
    bench.add(case, "transactions/s", samples, [Ratio("ours", "by_hand")])
    # k runs from 1, and an odd one is kicked again.
    clients = CLIENTS * bench.rounds
    acknowledged = {"approved": each // 2 * clients, "kicked": (each + 1) // 2 * clients}
    outcome: dict[str, list[float]] = {}
    for name in SCRIPTS:
        with bench.connect(name) as connection:
            (lost,) = connection.execute(LOST, acknowledged | {"last": used[name]}).fetchone() or (0,)
            (errors,) = connection.execute(ERRORS).fetchone() or (0,)
        outcome[f"{name}: lost"] = [lost]
        outcome[f"{name}: errors"] = [errors]
        outcome |= {f"{name}: {what}": [value] for what, value in counts[name].items()}
    bench.add(
        f"{case}: what became of them", "", outcome, [Ratio("ours: lost", at_most=0), Ratio("ours: errors", at_most=0)]
    )


SUBJECT = Subject("contention", run, sizes=(100,), tiny=(20,), rounds=5)

if __name__ == "__main__":
    main(SUBJECT)
