"""Where the migrations and the SQL files are, in a clone and in an installed wheel."""

import glob
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

# Our `migrations` and its modules, while the process has others under these names, or none.
_ours: dict[str, ModuleType] = {}


def root() -> Path:
    """Return the folder that holds ``alembic.ini``, ``migrations/`` and ``sql/``."""
    package = Path(__file__).resolve().parent
    bundled = package / "_bundled"
    return bundled if bundled.is_dir() else package.parent


def newest_sql(name: str) -> Path | None:
    """Return the newest file of an object of `sql/`, e.g. `guards/guard_status`; None if there is none."""
    folder, _, stem = name.rpartition("/")
    files = (root() / "sql" / folder).glob(f"{glob.escape(stem)}.v*.sql")
    # Not a variant for Citus, `….citus.sql`.
    shared = (file for file in files if len(file.suffixes) == 2)
    return max(shared, key=lambda file: (len(file.name), file.name), default=None)


@contextmanager
def own_migrations() -> Iterator[None]:
    """Have `import migrations` find the folder of this package, and afterwards what it found before.

    In a process of the app's, such as its test suite, the name may be that of a folder of the app. Alembic, too, puts
    our folder before everything else on `sys.path`.
    """
    paths, before = list(sys.path), _loaded()
    if inside := _are_ours(before):
        _ours.update(before)
    _swap(_ours)
    sys.path.insert(0, str(root()))
    try:
        yield
    finally:
        _ours.update(_loaded())
        _swap(_ours if inside else before)
        sys.path[:] = paths


def _loaded() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "migrations"}


def _are_ours(loaded: dict[str, ModuleType]) -> bool:
    package = loaded.get("migrations")
    return package is not None and Path(package.__file__ or "").resolve().parent == root() / "migrations"


def _swap(wanted: dict[str, ModuleType]) -> None:
    for name in _loaded():
        del sys.modules[name]
    sys.modules.update(wanted)
