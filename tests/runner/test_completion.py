"""What a shell completes: from the database that is named, and without a word when there is none."""

import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.cli import PROGRAM, run
from tests.support.database import url_of

_Connection = psycopg.Connection[Any]
NOWHERE = "postgresql://postgres@127.0.0.1:1/nowhere"


def completed(line: str, url: str | None, home: Path) -> list[str]:
    """Return what bash offers for the last word of a line."""
    words = line.split(" ")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "_QUEST_INTEGRITY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    if url is not None:
        environment["DATABASE_URL"] = url
    done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_rules_runs_kinds_revisions(sync_001: _Connection, tmp_path: Path) -> None:
    run(sync_001, "audit", "--fix-issues", "--yes", "--missing-participant", "create")
    sync_001.commit()
    url = url_of(sync_001)
    assert completed("quest-integrity audit --rule duplicate_a", url, tmp_path) == ["duplicate_approval"]
    assert completed("quest-integrity explain unkn", url, tmp_path) == ["unknown_status"]
    assert completed("quest-integrity undo ", url, tmp_path) == ["1"]
    assert completed("quest-integrity events --kind application_", url, tmp_path) == [
        "application_approved",
        "application_ended",
    ]
    assert completed("quest-integrity upgrade 0001", url, tmp_path) == ["0001_app_tables"]
    assert completed("quest-integrity downgrade b", url, tmp_path) == ["base"]
    assert completed("quest-integrity hist", url, tmp_path) == ["history"]


@pytest.mark.parametrize("url", [NOWHERE, "not a url", None], ids=["unreachable", "malformed", "embedded"])
def test_without_a_database(url: str | None, tmp_path: Path) -> None:
    assert completed("quest-integrity explain duplicate_p", url, tmp_path) == [
        "duplicate_participant",
        "duplicate_pending",
    ]
    assert completed("quest-integrity undo ", url, tmp_path) == []
    # Nothing was started or left behind.
    assert list(tmp_path.iterdir()) == []
