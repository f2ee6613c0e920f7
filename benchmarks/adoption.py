"""Adoption under traffic: backfill rows per second, and how long any client had to wait, beside the same traffic alone.

pgbench runs approvals, kicks, joins, stale quest saves and reads at a fixed rate, each transaction on its own, and logs
the latency of each from the moment it was due. Clients know nothing of the upgrade; they retry 40001 and 40P01.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import data
from benchmarks.harness import Bench, Ratio, Subject, found_number, main

CLIENTS = 8
PIECE_SECONDS = 4
ALONE_SECONDS = 20
PER_SECOND = 150

# The app's approval by hand; an existing participant is used again. An aggregate always returns a row, as \\gset needs.
APPROVE = """
\\set i random(1, :applications)
begin;
select coalesce(min(quest_id), 0) as quest, coalesce(min(applicant_id::text), '') as person, count(*) as found
from applications_application where id = :i and status in ('pending', 'rejected') \\gset
\\if :found
update applications_application set status = 'approved', reviewed_at = now() where id = :i;
insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
values ('joined', now(), '', :quest, :person::uuid)
on conflict (quest_id, user_id) do update set status = 'joined' where quests_questparticipant.status = 'dropped';
update quests_quest set status = 'in-progress', assigned_to_id = :person::uuid
where id = :quest and status <> 'completed';
\\endif
commit;
"""

SCRIPTS = {
    "approve": APPROVE,
    "kick": """
\\set i random(1, :applications)
update applications_application set status = 'kicked' where id = :i and status = 'approved';
""",
    "join": """
\\set i random(1, :quests)
\\set p random(1, :users)
insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
select 'joined', now(), '', :i, person(:p) on conflict (quest_id, user_id) do nothing;
""",
    "stale_save": """
\\set i random(1, :quests)
begin;
select status, title from quests_quest where id = :i;
update quests_quest set title = 'Quest', updated_at = now(), status = 'open', assigned_to_id = null where id = :i;
commit;
""",
    "read": """
\\set i random(1, :quests)
select quest.id, quest.status, count(application.id)
from quests_quest as quest left join applications_application as application on application.quest_id = quest.id
where quest.id = :i group by quest.id;
""",
}
WEIGHTS = {"approve": 3, "kick": 1, "join": 1, "stale_save": 2, "read": 5}


class Traffic(threading.Thread):
    """Clients that go on until told to stop; keeps every transaction's latency in milliseconds and pgbench's counts."""

    def __init__(self, bench: Bench, database: str, applications: int) -> None:
        """Prepare, but do not start yet."""
        super().__init__()
        self.bench, self.database = bench, database
        self.sizes = {
            "applications": applications,
            "quests": applications // 2,
            "users": max(applications // 20, 1000) - 1,
        }
        self.latencies: list[float] = []
        self.failed = 0.0
        self.error: BaseException | None = None
        self.over = threading.Event()

    def run(self) -> None:
        """Run pgbench piece by piece: it writes its log out only when a piece ends."""
        try:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                for script, text in SCRIPTS.items():
                    (folder / f"{script}.sql").write_text(text)
                while not self.over.is_set():
                    self._piece(folder)
        except BaseException as error:
            self.error = error

    def _piece(self, folder: Path) -> None:
        sizes = [part for name, value in self.sizes.items() for part in ("-D", f"{name}={value}")]
        out = self.bench.pgbench_files(
            self.database,
            [f"{folder / name}.sql@{weight}" for name, weight in WEIGHTS.items()],
            *("-c", str(CLIENTS), "-j", "1", "-T", str(PIECE_SECONDS), "--rate", str(PER_SECOND)),
            *("--max-tries", "100", "--failures-detailed", "-l", "--log-prefix", str(folder / "log"), *sizes),
        )
        self.failed += found_number(r"number of failed transactions: (\d+)", out)
        for log in folder.glob("log*"):
            for line in log.read_text().splitlines():
                # client, transaction, latency in µs since it was due, script, time, µs, lag of schedule, retries
                latency = line.split()[2]
                if latency.isdigit():
                    self.latencies.append(int(latency) / 1e3)
            log.unlink()

    def stop(self) -> list[float]:
        """Let the running piece end and return the latencies.

        Raises:
            RuntimeError: a client met an error that it could not retry.
        """
        self.over.set()
        self.join()
        if self.error:
            raise RuntimeError("the traffic broke") from self.error
        return sorted(self.latencies)


def percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and the maximum."""
    return {
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[math.ceil(len(latencies) * 0.99) - 1],
        "max": latencies[-1],
    }


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Run the traffic alone and through the upgrade, in turn."""
    for size in sizes:
        data.app_database(bench, "app")
        with bench.connect("app") as connection:
            data.lived_in(connection, size)
            # A live database is one that the app made: nothing of ours is there.
            connection.execute("drop schema integrity cascade")
        bench.vacuum("app")
        found: dict[str, dict[str, list[float]]] = {"alone": {}, "adoption": {}}
        rows: list[float] = []
        seconds: list[float] = []
        for _ in range(bench.rounds):
            for way, samples in found.items():
                bench.create("live", "app")
                traffic = Traffic(bench, "live", size)
                traffic.start()
                time.sleep(PIECE_SECONDS / 2)
                if way == "adoption":
                    started = time.perf_counter()
                    backfilled = _adopt(bench)
                    seconds.append(time.perf_counter() - started)
                    rows.append(backfilled)
                    time.sleep(PIECE_SECONDS / 2)
                else:
                    time.sleep(ALONE_SECONDS)
                latencies = traffic.stop()
                for name, value in percentiles(latencies).items():
                    samples.setdefault(name, []).append(value)
                samples.setdefault("transactions", []).append(len(latencies))
                samples.setdefault("failed", []).append(traffic.failed)
                bench.drop("live")
        bench.drop("app")
        title = f"{size:,} applications"
        for name in ("p50", "p99", "max"):
            aim = [Ratio("adoption", at_most=150)] if name == "max" else []
            samples = {way: each[name] for way, each in found.items()}
            bench.add(f"{title}: {name} of a client's wait", "ms", samples, [Ratio("adoption", "alone"), *aim])
        bench.add(
            f"{title}: backfill under traffic",
            "rows marked/s",
            {"backfill": rows},
            [Ratio("backfill", at_least=20_000)],
        )
        bench.add(f"{title}: the whole upgrade", "s", {"upgrade": seconds}, [Ratio("upgrade", at_most=45)])
        bench.notes[title] = {
            way: {name: each[name] for name in ("transactions", "failed")} for way, each in found.items()
        }


def _adopt(bench: Bench) -> float:
    """Run the upgrade; return how many rows per second the backfill marked."""
    bench.upgrade("live", "0004_markers")
    started = time.perf_counter()
    bench.upgrade("live", "0005_backfill")
    seconds = time.perf_counter() - started
    with bench.connect("live") as connection:
        (rows,) = connection.execute("select sum(rows_marked) from integrity.backfill").fetchone() or (0,)
    bench.upgrade("live")
    return float(rows) / seconds


SUBJECT = Subject("adoption", run, sizes=(100_000, 1_000_000), tiny=(10_000,), rounds=2)

if __name__ == "__main__":
    main(SUBJECT)
