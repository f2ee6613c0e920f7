"""The documents as one guide: it builds strictly, is not stale, the index has every page, every help an example."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer.main
from typer.testing import CliRunner

from checks.cli import app
from docs import generate

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def build(source: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    """Build the guide as `make site` does."""
    strictly = ["--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", "docs"]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *strictly, ".", str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_guide_builds_strictly(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "docs" / "index.html").is_file()


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.md", "*.rst", "*.py"))
    shutil.copy(ROOT / "docs" / "conf.py", tmp_path / "docs")
    (tmp_path / "docs" / "contents.rst").write_text(".. toctree::\n\n   index\n")
    wrong = ["none.md", "#here", "../README.md", "../sql/none.sql", "other.md#nowhere"]
    (tmp_path / "docs" / "index.md").write_text("# Index\n\n[right](#index) " + " ".join(f"[w]({to})" for to in wrong))
    (tmp_path / "docs" / "other.md").write_text("# Other\n")

    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert done.stderr.count("[myst.xref_missing]") == len(wrong), done.stderr
    assert "toc.not_included" in done.stderr


def test_what_the_catalog_says_is_up_to_date(migrated: psycopg.Connection[Any]) -> None:
    written = {page: page.read_text(encoding="utf-8") for page in generate.PAGES}
    assert {page.name for page in written} == {"architecture.md", "rules.md"}
    assert written == generate.pages(migrated), "run `make docs`"


def test_the_index_has_every_page() -> None:
    text = (ROOT / "docs" / "index.md").read_text()
    linked = {target.partition("#")[0] for target in LINK.findall(text)}
    assert {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"} <= linked


runner = CliRunner()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def leaves(commands: dict, before: str = "") -> Iterator[tuple[str, str]]:  # type: ignore[type-arg]
    for name, command in commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command.commands, f"{before}{name} ")
        else:
            yield f"{before}{name}", command.help or ""


@pytest.mark.parametrize(("name", "said"), list(leaves(COMMANDS)), ids=lambda value: value if len(value) < 30 else "")
def test_every_command_shows_an_example(name: str, said: str) -> None:
    assert re.search(rf"^Example: .*quest-integrity {name}\b", said, re.M), said


def test_no_summary_in_the_list_of_commands_is_cut_off() -> None:
    listed = runner.invoke(app, ["--help"], terminal_width=80).output.partition("Commands:")[2]
    assert len(listed.splitlines()) > len(COMMANDS)
    assert "..." not in listed


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).output == f"quest-integrity {version('quest-integrity')}\n"


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"| `{name}` " not in text] == []


ASSURANCE = (ROOT / "docs" / "assurance.md").read_text()


def test_every_test_that_assurance_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.py|/))?(?:::(\w+))?`", ASSURANCE)
    place, missing, seen = "", [], 0
    for path, test in named:
        place = path or place
        if path and not (ROOT / path).exists():
            missing.append(path)
        if test:
            seen += 1
            if not re.search(rf"^ *def {test}\(", (ROOT / place).read_text(), re.M):
                missing.append(f"{place}::{test}")
    assert missing == []
    assert seen > 20


def test_assurance_counts_the_bad_inputs() -> None:
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/law/test_bad_input.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = re.search(r"`tests/law/test_bad_input.py`: (\d+) inputs", ASSURANCE)
    assert said is not None
    assert int(said[1]) == collected.stdout.count("::")
