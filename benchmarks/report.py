"""The results as Markdown, for docs/performance.md: `python -m benchmarks.report [FOLDER]`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from benchmarks.harness import RESULTS, Ratio, figure, spread

ORDER = ("peer", "approval", "bulk", "idle", "contention", "audit", "perrow", "repair", "size", "adoption")


def main(folder: Path) -> None:
    """Print a table per subject."""
    for path in sorted(folder.glob("*.json"), key=lambda path: ORDER.index(path.stem)):
        found = json.loads(path.read_text())
        machine = found["machine"]
        loads = " / ".join(f"{load:g}" for load in machine["load_average"])
        print(f"\n### {found['subject']}\n")
        print(
            f"Finished {found['finished_at']}, up to {found['rounds']} rounds, {machine['cores']} cores"
            f" ({machine['cpu']}), data in {machine['data']}, load average at the end {loads}.\n"
        )
        print("| case | medians | ratio [least–greatest] | aim | |\n|---|---|---|---|---|")  # noqa: RUF001
        for each in found["comparisons"]:
            medians = ", ".join(
                f"{name} {figure(statistics.median(values))}" for name, values in each["samples"].items() if values
            )
            names = ("of", "to", "at_most", "at_least")
            ratios = [Ratio(**{name: ratio[name] for name in names}) for ratio in each["ratios"]]
            shown = [
                f"{ratio.of}/{ratio.to} {spread(ratio.values(each['samples']))}" if ratio.to else ratio.of
                for ratio in ratios
            ]
            verdicts = [
                {True: "reached", False: "**missed**", None: ""}[ratio.reached(each["samples"])] for ratio in ratios
            ]
            cells = (
                each["case"],
                f"{medians} {each['unit']}",
                "<br>".join(shown),
                "<br>".join(ratio.aim() for ratio in ratios),
                "<br>".join(verdicts),
            )
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else RESULTS)
