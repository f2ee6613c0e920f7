"""The documents as one guide: every link leads somewhere, every page is in the index, every help has an example."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from checks.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(unique)
    return found


def broken(page: Path, text: str) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT):
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(file):
            yield f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken(page, page.read_text())) == []


def test_it_would_notice() -> None:
    text = "[a](docs/none.md) [b](README.md#nowhere) [c](#here) [d](docs/rules.md#the-rules) `[e](f)` [g](https://h)"
    assert list(broken(ROOT / "README.md", text)) == [
        "docs/none.md: no such file",
        "README.md#nowhere: no such heading",
        "#here: no such heading",
    ]


def test_the_index_has_every_page() -> None:
    text = (ROOT / "docs" / "index.md").read_text()
    linked = {target.partition("#")[0] for target in LINK.findall(text)}
    assert {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"} <= linked


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


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"| `{name}` " not in text] == []
