"""What a release has shipped stays as it is: the list of `make release`, tried on a copy, and the list there is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import frozen

VIEW = "sql/events/events.v1.sql"
REVISION = "migrations/versions/0007_law.py"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy that was released today."""
    for folder in ("sql", "migrations"):
        shutil.copytree(frozen.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / frozen.LIST).unlink(missing_ok=True)
    frozen.freeze(tmp_path)
    return tmp_path


def test_nothing_that_was_released_has_changed() -> None:
    assert frozen.objections(frozen.ROOT) == []


def test_the_list_has_every_file_in_order(copy: Path) -> None:
    lines = (copy / frozen.LIST).read_text().splitlines()
    names = [line.partition("  ")[2] for line in lines]
    assert names == sorted(names)
    assert {VIEW, REVISION, "sql/events/log_event.v1.citus.sql"} <= set(names)
    assert [name for name in names if not re.search(r"\.v\d+(\.citus)?\.sql$|/\d{4}_\w+\.py$", name)] == []
    subprocess.run(["sha256sum", "--check", "--quiet", frozen.LIST], cwd=copy, check=True)


@pytest.mark.parametrize("name", [VIEW, REVISION])
def test_a_change_is_refused(name: str, copy: Path) -> None:
    (copy / name).write_text((copy / name).read_text() + "\n")
    (said,) = frozen.objections(copy)
    assert said.startswith(f"{name} is changed, ")
    before = (copy / frozen.LIST).read_text()
    with pytest.raises(SystemExit, match="write a new version of the file and a revision that installs it"):
        frozen.freeze(copy)
    assert (copy / frozen.LIST).read_text() == before


def test_a_removal_is_refused(copy: Path) -> None:
    (copy / VIEW).unlink()
    (said,) = frozen.objections(copy)
    assert said.startswith(f"{VIEW} is gone, ")


def test_a_new_file_is_free_until_the_next_release(copy: Path) -> None:
    new = copy / "sql" / "events" / "events.v2.sql"
    new.write_text("create view")
    (copy / "sql" / "README.md").write_text("A document may change.")
    assert frozen.objections(copy) == []

    frozen.freeze(copy)

    new.write_text("create or replace view")
    assert len(frozen.objections(copy)) == 1
