"""Backfill and repair of a dirty database: rows per second, and how much memory the runner takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import data
from benchmarks.harness import ROOT, Bench, Ratio, Subject, main, measured
from checks import repair as repairs
from checks import violations

DIRTY = 33
BEFORE_BACKFILL = "0004_markers"
BACKFILLED = "0005_backfill"
MARKED = "select sum(rows_marked), sum(last_id) from integrity.backfill"
COUNTS = "select coalesce(sum(violations), 0) from integrity.violation_summary where severity = 'error'"


def watched(bench: Bench, database: str, *arguments: str) -> tuple[float, float]:
    """Run the command line on a database; return the seconds it took and its peak memory in MB."""
    peak = 0.0
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own argument list
        [sys.executable, "-m", "benchmarks.runner", "--database-url", bench.url(database), *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):
                peak = int(found[1]) / 1024
            time.sleep(0.05)
        error = process.stderr.read() if process.stderr else ""
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(arguments)}: {error}")
    return time.perf_counter() - started, peak


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Fill in the markers of a dirty database, attach, repair."""
    for size in sizes:
        data.app_database(bench, "app")
        with bench.connect("app") as connection:
            data.lived_in(connection, size, DIRTY)
        bench.vacuum("app")
        backfill: list[float] = []
        repair: list[float] = []
        changed: list[float] = []
        cpu: list[float] = []
        printed: list[float] = []
        memory: list[float] = []
        for _ in range(bench.rounds):
            bench.create("dirty", "app")
            bench.upgrade("dirty", BEFORE_BACKFILL)
            started = time.perf_counter()
            bench.upgrade("dirty", BACKFILLED)
            seconds = time.perf_counter() - started
            with bench.connect("dirty") as connection:
                (rows, _ids) = connection.execute(MARKED).fetchone() or (0, 0)
            backfill.append(float(rows) / seconds)
            bench.upgrade("dirty")
            bench.vacuum("dirty")
            bench.create("printed", "dirty")
            with bench.connect("dirty") as connection:
                (errors,) = connection.execute(COUNTS).fetchone() or (0,)
                # As the command below: without an answer a fifth of the rows would be left to a person.
                options = repairs.Options(violations.Scope(), missing_participant="create")
                with measured(connection) as spent:
                    repairs.apply(connection, options, lambda *_: None)
                (left,) = connection.execute(COUNTS).fetchone() or (0,)
                (rows,) = connection.execute("select count(*) from integrity.repair_change").fetchone() or (0,)
            repaired = float(errors - left)
            repair.append(repaired / spent.wall)
            changed.append(float(rows) / spent.wall)
            cpu.append(spent.cpu / repaired * 1e6)
            seconds, peak = watched(
                bench, "printed", "audit", "--fix-issues", "--yes", "--missing-participant", "create"
            )
            printed.append(repaired / seconds)
            memory.append(peak)
            bench.notes[f"{size:,} applications"] = {"errors before": int(errors), "errors after": int(left)}
            bench.drop("dirty")
            bench.drop("printed")
        bench.drop("app")
        bench.add(
            f"backfill, {size:,} applications, nobody else",
            "rows marked/s",
            {"backfill": backfill},
            [Ratio("backfill", at_least=20_000)],
        )
        bench.add(
            f"repair, {size:,} applications, 3 % of quests broken",
            "per s",
            {"rows changed": changed, "violations": repair, "violations by the command, printing": printed},
            [Ratio("rows changed", at_least=4_000)],
        )
        bench.add(f"repair, {size:,} applications: server CPU", "µs/violation, both audits included", {"repair": cpu})
        bench.add(f"peak memory of the runner, {size:,} applications", "MB", {"runner": memory})


SUBJECT = Subject("repair", run, sizes=(100_000,), tiny=(5000,), rounds=3)

if __name__ == "__main__":
    main(SUBJECT)
