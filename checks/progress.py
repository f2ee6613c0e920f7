"""Progress of a step on stderr: a bar in a terminal, plain lines elsewhere, nothing of what takes under a second."""

import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

QUIET_SECONDS = 1.0
PLAIN_LINE_SECONDS = 5.0
# So many items are counted at once.
COUNTED_AT_ONCE = 500

Item = TypeVar("Item")


class Progress:
    """Shows how far named tasks are, with rate and time left. A context manager."""

    def __init__(self) -> None:
        """Start with no task."""
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._began = self._told = time.monotonic()
        # A step may say nothing for minutes, so the bar does not wait for its next word.
        self._late = threading.Timer(QUIET_SECONDS, self._draw)
        self._late.daemon = True
        self._drawing = threading.Lock()
        self._is_over = False

    def __enter__(self) -> "Progress":
        """Draw from the first second on."""
        if self._console.is_terminal:
            self._late.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._late.cancel()
        with self._drawing:
            self._is_over = True
            if self._bar.live.is_started:
                self._bar.stop()

    def at(self, task: str, done: int, total: int | None) -> None:
        """Say how far a task is.

        Args:
            task: what is done.
            done: how much of it, in the task's own unit.
            total: of how much; None when nobody knows.
        """
        now = time.monotonic()
        if task not in self._tasks:
            self._tasks[task] = self._bar.add_task(task, total=total, rate="")
            # What was done before the first word came took time that nobody measured.
            self._started[task] = (now, done)
        began, first = self._started[task]
        rate = (done - first) / (now - began) if now > began else 0.0
        self._bar.update(self._tasks[task], completed=done, total=total, rate=f"{rate:,.0f}/s" if rate else "")
        if total is not None and not self._console.is_terminal:
            self._tell(task, done, total, rate)

    def followed(self, task: str, items: Iterable[Item], total: int) -> Iterator[Item]:
        """Yield the items, and say how many of how many have been taken."""
        for done, item in enumerate(items):
            if done % COUNTED_AT_ONCE == 0:
                self.at(task, done, total)
            yield item

    def _draw(self) -> None:
        with self._drawing:
            if not self._is_over:
                self._bar.start()

    def _tell(self, task: str, done: int, total: int, rate: float) -> None:
        """Print a line when it is time for one, and at the end of what took long."""
        now, finished = time.monotonic(), done >= total
        if now - self._told >= PLAIN_LINE_SECONDS or (finished and now - self._began >= QUIET_SECONDS):
            self._told = now
            speed = f", {rate:,.0f}/s" if rate else ""
            left = f", {(total - done) / rate:,.0f} s left" if rate and not finished else ""
            self._console.print(f"{task}: {done:,} of {total:,}{speed}{left}", highlight=False, soft_wrap=True)
