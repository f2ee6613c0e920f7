"""The map of sql/: every file stands in its folder's README, and what that says of migrations, tests and docs is so."""

import re

import pytest

from docs import generate
from tests.support.programs import ROOT

FOLDERS = {room["folder"]: room for room in generate.folders()}
INSTALLED = re.compile(r'"([a-z_]+/[a-z_/{}]+)"')


def _names(folder: str) -> set[str]:
    return {path.name.partition(".")[0] for path in (ROOT / folder).glob("*.sql")}


def _migrations(folder: str) -> set[str]:
    """Return the revisions that name a file of a folder."""
    subject = folder.removeprefix("sql/")
    return {
        path.stem
        for path in (ROOT / "migrations" / "versions").glob("*.py")
        if any(name.startswith(subject) for name in INSTALLED.findall(path.read_text()))
    }


def test_every_file_stands_in_a_row_of_the_map() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "sql").rglob("*.sql")]
    assert [file for file in files if not file.startswith(tuple(FOLDERS))] == []


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != "sql/rules/"])
def test_a_readme_names_every_file_once(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text()
    order = re.search(r"^Read in this order: ((?:.+\n)+)", text, re.M)
    assert order is not None
    named = re.findall(r"`(\w+)`", order[1])
    assert sorted(named) == sorted(_names(folder))


def test_a_folder_of_rules_holds_a_view_and_perhaps_a_repair() -> None:
    folders = {
        path.name: _names(f"sql/rules/{path.name}") for path in (ROOT / "sql" / "rules").iterdir() if path.is_dir()
    }
    assert {name for name, files in folders.items() if "view" not in files or files - {"view", "repair"}} == set()
    assert "approved_without_participant" in folders


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_readme_says_is_so(folder: str) -> None:
    said = FOLDERS[folder]
    assert len((ROOT / folder / "README.md").read_text().splitlines()) <= 15
    migrations = set(re.findall(r"`(\w+)`", said["migrations"]))
    assert migrations <= {path.stem for path in (ROOT / "migrations" / "versions").glob("*.py")}
    # A stand-in trigger is put back by the downgrades of later revisions, too.
    assert migrations <= _migrations(folder)
    assert list((ROOT / said["tests"]).glob("test_*.py")) != []
    assert (ROOT / "docs" / said["chapter"].partition("#")[0]).is_file()
