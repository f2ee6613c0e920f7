"""Progress of a long step on stderr: a bar in a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

PLAIN_LINE_SECONDS = 5.0


class Progress:
    """Shows how far named tasks are, with rate and time left. A context manager."""

    def __init__(self) -> None:
        """Start with no task."""
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._told = time.monotonic()

    def __enter__(self) -> "Progress":
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._bar.stop()

    def at(self, task: str, done: int, total: int) -> None:
        """Say that a task has reached `done` of `total`, in the task's own unit."""
        now = time.monotonic()
        if task not in self._tasks:
            self._tasks[task] = self._bar.add_task(task, rate="")
            # What was done before the first word came took time that nobody measured.
            self._started[task] = (now, done)
        began, first = self._started[task]
        rate = (done - first) / (now - began) if now > began else 0.0
        self._bar.update(self._tasks[task], completed=done, total=total, rate=f"{rate:,.0f}/s")
        finished = done >= total
        if not self._console.is_terminal and (finished or now - self._told >= PLAIN_LINE_SECONDS):
            self._told = now
            speed = f", {rate:,.0f}/s" if rate else ""
            left = f", {(total - done) / rate:,.0f} s left" if rate and not finished else ""
            self._console.print(f"{task}: {done:,} of {total:,}{speed}{left}", highlight=False)
