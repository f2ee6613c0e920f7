"""What every benchmark shares: a server of its own, cloned databases, alternating rounds, the table and the JSON."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from checks import migrate, server
from checks.target import Target

ROOT = Path(__file__).resolve().parent.parent
# Applications; ten million with their indexes and WAL take 12 GB.
FITS_IN_MEMORY = 2_000_000
RESULTS = Path(__file__).resolve().parent / "results"

# One set for every contender. Autovacuum and checkpoints would hit one contender and not the other.
SETTINGS: Mapping[str, str] = {
    "shared_buffers": "1GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "off",
    "max_parallel_workers_per_gather": "2",
}

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Ratio:
    """One contender against another, round by round; `to` None judges the figure of `of` itself."""

    of: str
    to: str | None = None
    at_most: float | None = None
    at_least: float | None = None

    def aim(self) -> str:
        """Return the aim as the table shows it."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    def values(self, samples: Mapping[str, Sequence[float]]) -> list[float]:
        """Return the ratio of each round."""
        if self.to is None:
            return list(samples[self.of])
        return [of / to for of, to in zip(samples[self.of], samples[self.to], strict=True) if to]

    def reached(self, samples: Mapping[str, Sequence[float]]) -> bool | None:
        """Say whether the median reaches the aim; None without one."""
        values = self.values(samples)
        if not values or (self.at_most is None and self.at_least is None):
            return None
        middle = statistics.median(values)
        return middle <= self.at_most if self.at_most is not None else middle >= (self.at_least or 0)


@dataclass(frozen=True)
class Comparison:
    """The samples of one case, a list of rounds per contender, and the ratios that matter."""

    subject: str
    case: str
    unit: str
    samples: dict[str, list[float]]
    ratios: tuple[Ratio, ...] = ()


@dataclass
class Bench:
    """A running server and what was measured on it."""

    running: server.Server
    subject: str
    rounds: int
    place: str
    comparisons: list[Comparison] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def url(self, database: str, **settings: str) -> str:
        """Return a libpq URL of a database, with server settings for the session."""
        url = self.running.url.replace("/postgres?", f"/{database}?")
        options = "%20".join(f"-c%20{name}%3D{value}" for name, value in settings.items())
        return f"{url}&options={options}" if options else url

    def connect(self, database: str, **settings: str) -> Connection:
        """Open a session in autocommit mode that prepares every statement at once."""
        return psycopg.connect(self.url(database, **settings), autocommit=True, prepare_threshold=0)

    def create(self, database: str, template: str | None = None) -> None:
        """Create a database, a copy of another one if named."""
        statement = sql.SQL("create database {} template {}").format(
            sql.Identifier(database), sql.Identifier(template or "template1")
        )
        with self.connect("postgres") as connection:
            connection.execute(statement)

    def drop(self, database: str) -> None:
        """Drop a database if it is there."""
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database)))

    def upgrade(self, database: str, revision: str = "head", x: Sequence[str] = ()) -> None:
        """Migrate a database, quietly."""
        with contextlib.redirect_stderr(io.StringIO()):
            migrate.upgrade(Target(self.url(database), "benchmark"), revision, x)

    def vacuum(self, *databases: str, full: bool = False) -> None:
        """Vacuum and analyze, then write everything out, so that nobody pays for it later.

        Args:
            databases: which ones.
            full: also pack the tables, so that contenders start from the same pages whatever happened to them before.
        """
        for database in databases:
            with self.connect(database) as connection:
                # Pages become visible to all only when the commits of their rows, not synchronous here, are on disk.
                connection.execute("checkpoint")
                connection.execute("vacuum (full)" if full else "vacuum")
                connection.execute("vacuum (analyze)")
                connection.execute("checkpoint")

    def add(
        self, case: str, unit: str, samples: Mapping[str, Sequence[float]], ratios: Iterable[Ratio] = ()
    ) -> Comparison:
        """Keep what was measured."""
        found = Comparison(self.subject, case, unit, {name: list(each) for name, each in samples.items()}, (*ratios,))
        self.comparisons.append(found)
        middles = ", ".join(f"{name} {figure(statistics.median(each))}" for name, each in found.samples.items() if each)
        print(f"  {case}: {middles} {unit}", file=sys.stderr)
        return found

    def pgbench(self, database: str, script: str, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
        """Run pgbench of the embedded engine with one script, prepared protocol, and return what it prints."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script)
            file.flush()
            return self.pgbench_files(database, [file.name], *arguments, settings=settings)

    def pgbench_files(
        self,
        database: str,
        scripts: Sequence[str],
        *arguments: str,
        settings: Mapping[str, str] | None = None,
    ) -> str:
        """Run pgbench with script files, each as pgbench's own option -f takes it."""
        files = [part for name in scripts for part in ("-f", name)]
        options = " ".join(f"-c {name}={value}" for name, value in (settings or {}).items())
        done = subprocess.run(  # noqa: S603 - our own argument list
            [self.running.binaries / "pgbench", "-n", "-M", "prepared", *arguments, *files, database],
            env={
                "PATH": os.defpath,
                "PGHOST": str(self.running.sockets),
                "PGPORT": str(self.running.port),
                "PGUSER": "postgres",
                "PGOPTIONS": options,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pgbench failed: {done.stderr}\n{done.stdout}")
        return done.stdout


def found_number(pattern: str, text: str) -> float:
    """Return the number that a pattern's group finds in a program's output, 0 when it says nothing of the kind."""
    match = re.search(pattern, text)
    return float(match[1]) if match else 0.0


def throughput(output: str) -> float:
    """Return pgbench's transactions per second."""
    return found_number(r"tps = ([\d.]+)", output)


def cpu_seconds(connection: Connection) -> float:
    """Return the CPU time of the session's server process so far."""
    spent = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()
    return int(spent[0]) / 1e9


@dataclass
class Spent:
    """What a block took: wall time and the server process's CPU time, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0


@contextlib.contextmanager
def measured(connection: Connection) -> Iterator[Spent]:
    """Measure a block that works on one session."""
    spent = Spent()
    cpu, wall = cpu_seconds(connection), time.perf_counter()
    yield spent
    spent.wall = time.perf_counter() - wall
    spent.cpu = cpu_seconds(connection) - cpu


def alternate(rounds: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run the contenders in turn, A B A B, and return the figure of each round."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            samples[name].append(run())
    return samples


def alternate_spent(
    rounds: int, contenders: Mapping[str, Callable[[], Spent]], warm_up: bool = True
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Run the contenders in turn and return the wall time and the CPU time of each round."""
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-1 if warm_up else 0, rounds):
        for name, run in contenders.items():
            spent = run()
            if number >= 0:
                wall[name].append(spent.wall)
                cpu[name].append(spent.cpu)
    return wall, cpu


def scaled(samples: Mapping[str, Sequence[float]], factor: float) -> dict[str, list[float]]:
    """Return samples in another unit."""
    return {name: [value * factor for value in each] for name, each in samples.items()}


def machine() -> dict[str, Any]:
    """Describe the machine, without names."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = found_number(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu[1] if cpu else platform.machine(),
        "memory_gb": round(memory / 1024**2),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def settings_of(connection: Connection) -> dict[str, str]:
    """Return the engine's version and every setting that the run chose."""
    rows = connection.execute(
        "select name, current_setting(name) from pg_settings where name = any(%s) or name = 'server_version'"
        " order by name",
        [list(SETTINGS)],
    )
    return dict(rows.fetchall())


@contextlib.contextmanager
def bench(subject: str, rounds: int, *, on_disk: bool) -> Iterator[Bench]:
    """Run a server for one subject, its data on disk or, when there is room, in memory (where fsync costs nothing)."""
    in_memory = patch.object(server, "SHM_FREE_BYTES", sys.maxsize if on_disk else server.SHM_FREE_BYTES)
    with in_memory, server.throwaway(SETTINGS | {"max_connections": "100"}) as running:
        place = "memory (tmpfs)" if str(running.folder).startswith("/dev/shm") else "disk"  # noqa: S108
        yield Bench(running, subject, rounds, place)


def figure(value: float) -> str:
    """Return a number with as many digits as tell something."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """Return the median, with the least and the greatest when there are several."""
    if not values:
        return "-"
    middle = figure(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} [{figure(min(values))}–{figure(max(values))}]"  # noqa: RUF001


def table(comparisons: Sequence[Comparison]) -> Table:
    """Return the table of medians and ratios, each with its least and greatest round."""
    result = Table(title="medians, least and greatest round", title_justify="left")
    for name in ("subject", "case", "figures", "ratio", "aim", ""):
        result.add_column(name, overflow="fold")
    for each in comparisons:
        figures = "\n".join(f"{name}: {spread(values)} {each.unit}" for name, values in each.samples.items())
        shown = [
            (f"{ratio.of}/{ratio.to}" if ratio.to else ratio.of, spread(ratio.values(each.samples)), ratio)
            for ratio in each.ratios
        ]
        verdict = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}
        result.add_row(
            each.subject,
            each.case,
            figures,
            "\n".join(f"{name} = {value}" for name, value, _ in shown),
            "\n".join(ratio.aim() for *_, ratio in shown),
            "\n".join(verdict[ratio.reached(each.samples)] for *_, ratio in shown),
        )
    return result


def save(done: Bench, sizes: Sequence[int], folder: Path) -> None:
    """Write one subject's results: every round, the machine, the engine and its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    with done.connect("postgres") as connection:
        settings = settings_of(connection)
    document = {
        "subject": done.subject,
        "sizes": list(sizes),
        "rounds": done.rounds,
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine() | {"data": done.place},
        "settings": settings,
        "notes": done.notes,
        "comparisons": [
            asdict(each)
            | {
                "medians": {name: statistics.median(values) for name, values in each.samples.items() if values},
                "ratios": [
                    asdict(ratio)
                    | {
                        "median": statistics.median(ratio.values(each.samples) or [0]),
                        "reached": ratio.reached(each.samples),
                    }
                    for ratio in each.ratios
                ],
            }
            for each in done.comparisons
        ],
    }
    (folder / f"{done.subject}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    for name, text in done.texts.items():
        (folder / f"{name}.txt").write_text(text)


@dataclass(frozen=True)
class Subject:
    """A benchmark: what it measures, at which sizes by default, in how many rounds, and how."""

    name: str
    run: Callable[[Bench, Sequence[int]], None]
    sizes: tuple[int, ...]
    tiny: tuple[int, ...]
    rounds: int = 5
    on_disk: bool = False

    def measure(self, sizes: Sequence[int], rounds: int, folder: Path) -> list[Comparison]:
        """Run it on a server of its own and save the results."""
        print(f"{self.name}: sizes {', '.join(f'{size:,}' for size in sizes)}, {rounds} rounds", file=sys.stderr)
        with bench(self.name, rounds, on_disk=self.on_disk or max(sizes) > FITS_IN_MEMORY) as running:
            started = time.monotonic()
            self.run(running, sizes)
            running.notes["seconds"] = round(time.monotonic() - started)
            save(running, sizes, folder)
            return running.comparisons


def main(*subjects: Subject, chosen: Sequence[str] | None = None) -> None:
    """Run benchmarks from the command line and print one table."""
    parser = argparse.ArgumentParser(description="; ".join(subject.name for subject in subjects))
    if len(subjects) > 1:
        names = [subject.name for subject in subjects]
        parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(names)}")
    parser.add_argument("--size", type=int, nargs="+", help="instead of the default sizes")
    parser.add_argument("--rounds", type=int, help="instead of the default number of rounds")
    parser.add_argument("--tiny", action="store_true", help="a quick look: small sizes, two rounds")
    parser.add_argument("--output", type=Path, help="folder for the results; default benchmarks/results")
    given = parser.parse_args()
    wanted = getattr(given, "subjects", None) or chosen or [subject.name for subject in subjects]
    if unknown := set(wanted) - {subject.name for subject in subjects}:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    # A quick look must not replace the figures that docs/performance.md explains.
    folder = given.output or (RESULTS if not given.tiny else Path(tempfile.gettempdir()) / "quest-integrity-bench")
    comparisons: list[Comparison] = []
    for subject in subjects:
        if subject.name in wanted:
            sizes = given.size or (subject.tiny if given.tiny else subject.sizes)
            comparisons += subject.measure(sizes, given.rounds or (2 if given.tiny else subject.rounds), folder)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
    Console(width=width).print(table(comparisons))
    described = machine()
    print(f"{described['cores']} cores, {described['cpu']}, {described['memory_gb']} GB; results in {folder}")
