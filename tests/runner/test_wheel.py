"""The wheel alone, in an environment of its own and an empty folder, replays the incident."""

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

# Each refusal or healing of the demo's last table, by attempt.
ATTEMPTS = {
    "raw UPDATE: approve": "healed",
    "bulk UPDATE: approve three": "healed",
    "DELETE the participant": "healed",
    "stale quest write: open, nobody": "healed",
    "user triggers disabled, then approve": "constraint integrity_approved_application_has_participant",
    "COPY an approved application in": "healed",
}


def run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return done.stdout


def required(root: importlib.metadata.Distribution) -> Iterator[importlib.metadata.Distribution]:
    """Yield what a distribution requires, what that requires, and so on, with the extras that are asked for."""
    seen: set[str] = set()
    waiting = [(root, {""})]
    while waiting:
        distribution, extras = waiting.pop()
        for requirement in map(Requirement, distribution.requires or ()):
            marker = requirement.marker
            if str(requirement) in seen or not (marker is None or any(marker.evaluate({"extra": x}) for x in extras)):
                continue
            seen.add(str(requirement))
            found = importlib.metadata.distribution(requirement.name)
            yield found
            waiting.append((found, requirement.extras or {""}))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of a new environment: the wheel, and links to what it says it requires, no more."""
    place = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    # A copy: a build must not leave anything in, or be helped by, the tree it is made from.
    source = place / "source"
    tracked = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", place, source, cwd=place)
    (wheel,) = place.glob("*.whl")

    home = place / "venv"
    venv.create(home)
    purelib = next(home.glob("lib/python*/site-packages"))
    run(*pip, "--python", home / "bin" / "python", "install", "--no-deps", "--no-index", wheel, cwd=place)
    (ours,) = importlib.metadata.distributions(path=[str(purelib)])
    for found in required(ours):
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            if not (purelib / top).exists():
                (purelib / top).symlink_to(Path(str(found.locate_file(top))))
    return home / "bin"


def counts(section: str) -> dict[str, int]:
    """Return, by rule, the violations that a part of the demo's output lists."""
    return {rule: int(number) for rule, number in re.findall(r"^error  (\w+)  (\d+) violation", section, re.M)}


def test_the_wheel_alone_replays_the_incident(installed: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    said = run(installed / "quest-integrity", "demo", cwd=empty, HOME=str(tmp_path))

    assert list(empty.iterdir()) == []
    sync, audit = said.split("AUDIT-001: the database", 1)
    audit, attempts = audit.split("Now try to commit the broken state", 1)
    # Before the repair and after it; the incident's own numbers, and nothing else.
    assert counts(sync) == {"approved_without_participant": 1, "open_quest_with_approval": 1}
    assert counts(audit) == {"approved_without_participant": 3, "unassigned_quest_with_participant": 2}
    assert [part.count("\n0 errors, 0 warnings in 12 rules\n") for part in (sync, audit)] == [1, 1]
    assert "483ab258-e434-44f3-9da2-73409dd55f55" in sync
    assert re.findall(r"^(student\d) +(\d)", audit, re.M) == [("student2", "3"), ("student3", "1"), ("student1", "1")]
    for attempt, outcome in ATTEMPTS.items():
        block = re.search(rf"^attempt {re.escape(attempt)}\n((?:  .*\n)+)", attempts, re.M)
        assert block is not None, attempts
        assert outcome in " ".join(block[1].split())
    assert "\n0 violations of severity error after all six\n" in attempts
    assert "\nenforce participant_without_approval: enforced on every row\n" in attempts
    assert re.search(r"integrity_participant_has_approved_application\n", attempts)
    # The last three lines are what a visitor should remember.
    _, _, remember = attempts.partition("\nWhat to remember\n")
    assert len(remember.splitlines()) == 3


def test_the_wheel_alone_writes_the_report(installed: Path) -> None:
    (package,) = installed.parent.glob("lib/python*/site-packages/checks")
    templates = {Path(name).name for name in run("git", "ls-files", "checks/templates", cwd=ROOT).splitlines()}

    assert len(templates) > 1
    assert {path.name for path in (package / "templates").iterdir()} == templates


def test_the_wheel_holds_every_migration_and_object(installed: Path) -> None:
    (bundled,) = installed.parent.glob("lib/python*/site-packages/checks/_bundled")
    tracked = run(
        "git",
        "ls-files",
        "alembic.ini",
        "migrations",
        "sql/*.sql",
        "docs/audit.schema.json",
        "docs/records.schema.json",
        cwd=ROOT,
    ).splitlines()

    assert [name for name in tracked if (ROOT / name).is_file() and not (bundled / name).is_file()] == []
