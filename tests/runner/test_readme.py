"""The commands in README.md, docs/adopting.md and docs/operations.md do what these say.

Convention: a block that starts with ```` ```sh runnable ```` is run by bash, in the document's order; it must end with
exit code 0, or with the one given as `exit=1`. When a block ```` ```text output ```` follows, the command must print
exactly that; … stands for any text, and on a line of its own for any lines.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_postgresql import factories

from checks import server
from checks.engine import find_binaries
from checks.state import STATE_VARIABLE
from tests.django_app import database
from tests.support import plant
from tests.support.database import copy_of, url_of

ROOT = Path(__file__).resolve().parents[2]

BLOCK = re.compile(
    r"^```sh runnable(?: exit=(?P<code>\d+))?\n(?P<script>.*?)^```\n(?:\n?^```text output\n(?P<output>.*?)^```\n)?",
    re.M | re.S,
)

# What our commands print is what a terminal of 80 columns shows, without colours.
TERMINAL = {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": "80"}

# What the app's next release brings, in place of the reader's own manage.py.
MANAGE = """
import os, sys
sys.path.insert(0, {root!r})
os.environ["DJANGO_APP_DATABASE_URL"] = os.environ["DATABASE_URL"]
from tests.django_app import database
database.setup()
from django.db import connection, models
from tests.django_app.quests.models import Quest
assert sys.argv[1:] == ["migrate"]
before = Quest._meta.get_field("status")
after = models.CharField(max_length=20)
after.set_attributes_from_name("status")
after.model = Quest
with connection.schema_editor() as editor:
    editor.alter_field(Quest, before, after)
"""


def pattern(output: str) -> "re.Pattern[str]":
    """Return what a command's output must match; spaces at the end of a line do not count."""
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    parts = ["(?:[^\n]*\n)*" if line == "…" else re.escape(line).replace("…", "[^\n]*") + "\n" for line in lines]
    return re.compile("".join(parts))


def run(document: str, environment: dict[str, str], cwd: Path, section: str = "") -> int:
    """Run the blocks of a document, or of one section of it, and return how many there were."""
    engine = find_binaries()
    path = os.pathsep.join([str(Path(sys.executable).parent), str(engine), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUEST_INTEGRITY")}
    text = (ROOT / document).read_text()
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{block['script']}"],
            cwd=cwd,
            env=kept | environment | TERMINAL | {"PATH": path, "PAGER": "cat"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        printed = "\n".join(line.rstrip() for line in done.stdout.splitlines())
        # The address of a test's server is longer than that of a reader's.
        printed = re.sub(r"^database:\s\S+\s\([^)]*\)", lambda found: " ".join(found[0].split()), printed, flags=re.M)
        shown = f"{document}:\n{block['script']}printed\n{printed}"
        assert done.returncode == int(block["code"] or 0), f"exit code {done.returncode} of {shown}"
        documented = pattern("…" if block["output"] is None else block["output"])
        as_documented = documented.fullmatch(printed.strip("\n") + "\n") is not None
        assert as_documented, f"not the output documented: {shown}"
    return len(blocks)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a state folder for the embedded server, which is stopped afterwards."""
    # pytest's own folders are private to root, and root's servers run as nobody.
    folder = Path(tempfile.mkdtemp(prefix="qi-", dir="/tmp"))
    folder.chmod(0o755)
    monkeypatch.setenv(STATE_VARIABLE, str(folder / "state"))
    try:
        yield folder / "state"
    finally:
        server.persistent().stop()
        shutil.rmtree(folder)


def _load_live(*, autocommit: bool, **where: Any) -> None:
    """Load a live PeerQuest, broken in every way."""
    with psycopg.connect(**where) as connection:
        database.create_app_tables(url_of(connection))
        plant.everything(connection)


live_server = factories.postgresql_noproc(dbname="documents_live", load=[_load_live])
live = copy_of("live_server")


@pytest.fixture
def watched(live: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """Yield the live database; the role that its runbook creates is the whole server's, and goes afterwards."""
    yield live
    live.execute("drop role nightly")
    live.commit()


def test_readme(state: Path) -> None:
    assert run("README.md", {STATE_VARIABLE: str(state)}, ROOT) > 5


def test_adopting(watched: psycopg.Connection[Any], tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(MANAGE.format(root=str(ROOT)))

    assert run("docs/adopting.md", {"DATABASE_URL": url_of(watched)}, tmp_path) > 5


def test_operations(migrated: psycopg.Connection[Any], tmp_path: Path) -> None:
    assert run("docs/operations.md", {"DATABASE_URL": url_of(migrated)}, tmp_path) == 3
    assert {file.name for file in tmp_path.iterdir()} == {"quest_integrity.prom", "report.html"}


def test_no_other_document_has_commands_to_run() -> None:
    here = {"README.md", "docs/adopting.md", "docs/operations.md"}
    elsewhere = {
        "docs/roles.md": "tests/roles/test_documents.py",
        "docs/loading.md": "tests/runner/test_loading.py",
    }
    found = {
        str(page.relative_to(ROOT))
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        if BLOCK.search(page.read_text())
    }
    assert found == here | set(elsewhere)
    assert all(page in (ROOT / module).read_text() for page, module in elsewhere.items())
