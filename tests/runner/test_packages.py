"""The packages: built the same byte for byte, beside an app with a folder of the same name, removed without a trace."""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests import frozen

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# In one process of the app's: what it has imported, imports later, and finds on its path stays its own.
BESIDE = """
import os, sys
if sys.argv[1] == "first":
    import migrations.forms
path = list(sys.path)

from checks import attachment, migrate, server
from checks.target import Target

with server.throwaway() as running:
    target = Target(running.url, "test")
    migrate.upgrade(target)
    with target.connect(autocommit=True) as connection:
        assert attachment.detach(connection) > 0
        assert attachment.attach(connection)
    migrate.downgrade(target, "base", ["drop-app-tables=true", "drop-records=true"])

import migrations.forms
assert (migrations.OWNER, migrations.forms.OWNER) == ("the app", "the app"), migrations.__file__
assert sys.path == path
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return done.stdout


def build(place: Path, mode: int) -> dict[str, str]:
    """Build both from a copy of what git has, whose files have a mode and times of their own; return their digests."""
    source = place / "source"
    for name in filter(None, run("git", "ls-files", "-z", cwd=ROOT).split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            (source / name).chmod(mode)
            os.utime(source / name, (10**9 + mode, 10**9 + mode))
    if not (source / frozen.LIST).exists():
        frozen.freeze(source)
    run(sys.executable, "-m", "hatchling", "build", "-d", place / "dist", cwd=source)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (place / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return the folder of the built wheel and sdist, and their digests."""
    place = tmp_path_factory.mktemp("first")
    return place / "dist", build(place, 0o644)


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, dict[str, str]]) -> Path:
    (found,) = built[0].glob("*.whl")
    return found


def test_two_builds_are_the_same(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    assert sorted(name.rpartition(".")[2] for name in built[1]) == ["gz", "whl"]
    assert build(tmp_path, 0o600) == built[1]


def test_the_checkers_are_content(built: tuple[Path, dict[str, str]], wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *built[0].iterdir(), cwd=ROOT)
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=ROOT)


def test_the_wheel_has_one_name_at_its_top(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"checks"}
    assert "checks/py.typed" in names


def test_only_the_sdist_has_the_list_of_frozen_files(built: tuple[Path, dict[str, str]], wheel: Path) -> None:
    (sdist,) = built[0].glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert f"{sdist.name.removesuffix('.tar.gz')}/{frozen.LIST}" in archive.getnames()
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if frozen.LIST.name in name] == []


def test_the_metadata() -> None:
    project = PYPROJECT["project"]
    assert "Typing :: Typed" in project["classifiers"]
    assert [name for name in project["classifiers"] if name.startswith("License")] == []
    assert "Development Status :: 5 - Production/Stable" in project["classifiers"]
    assert project["keywords"]


def test_the_version_is_the_same_everywhere() -> None:
    released = PYPROJECT["project"]["version"]
    newest = re.search(r"^## \[(.+)\] - (?:\d{4}-\d{2}-\d{2}|unreleased)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    image = re.search(r"image: \S+/quest-integrity:(\S+)", (ROOT / "docs/schedules/cronjob.yaml").read_text())
    assert newest is not None
    assert image is not None
    assert (newest[1], image[1]) == (released, released)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return the interpreter of a new, empty environment."""
    venv.create(tmp_path / "venv")
    return tmp_path / "venv" / "bin" / "python"


def pip(environment: Path, *arguments: object) -> str:
    quiet = ("--quiet", "--disable-pip-version-check", "--python", environment)
    return run(sys.executable, "-m", "pip", *quiet, *arguments, cwd=environment.parents[2])


def content(environment: Path) -> set[Path]:
    home = environment.parents[1]
    return {path.relative_to(home) for path in home.rglob("*")}


def test_removal_leaves_nothing(wheel: Path, environment: Path) -> None:
    before = content(environment)
    pip(environment, "install", "--no-deps", "--no-index", wheel)
    # Compiled when it is used, not only when it is installed.
    run(environment, "-c", "import checks.errors, checks.resources", cwd=environment.parents[2])
    assert len(content(environment) - before) > 200

    pip(environment, "uninstall", "--yes", "quest-integrity")

    assert content(environment) == before


@pytest.fixture
def packages(wheel: Path, environment: Path) -> Path:
    """Return the folder of the packages of an environment that has ours; what it requires is the tests' own."""
    pip(environment, "install", "--no-deps", "--no-index", wheel)
    (found,) = environment.parents[1].glob("lib/python*/site-packages")
    (found / "required.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    return found


@pytest.mark.parametrize("order", ["first", "later"])
def test_beside_an_app_with_migrations_of_its_own(order: str, packages: Path, environment: Path) -> None:
    (packages / "migrations").mkdir()
    for name in ("__init__", "forms", "options", "steps"):
        (packages / "migrations" / f"{name}.py").write_text('OWNER = "the app"\n')

    run(environment, "-c", BESIDE, order, cwd=environment.parents[2])


def test_beside_an_app_with_checks_of_its_own(packages: Path, environment: Path, tmp_path: Path) -> None:
    """What docs/django.md says: the command is unaffected, and of the two imports only one is to be had."""
    (tmp_path / "checks").mkdir()
    for name in ("__init__", "forms"):
        (tmp_path / "checks" / f"{name}.py").write_text('OWNER = "the app"\n')
    (tmp_path / "test_app.py").write_text("from checks.forms import OWNER\n\ndef test(): assert OWNER == 'the app'\n")

    assert "quest-integrity" in run(environment.with_name("quest-integrity"), "--version", cwd=tmp_path)
    # As manage.py does.
    assert run(environment, "-c", "import checks; print(checks.OWNER)", cwd=tmp_path) == "the app\n"
    for start in ((environment, "-m", "pytest"), (environment, "-c", "import pytest, sys; sys.exit(pytest.main())")):
        assert "1 passed" in run(*start, "-p", "no:quest_integrity", "test_app.py", cwd=tmp_path)
