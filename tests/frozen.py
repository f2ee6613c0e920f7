"""The files of SQL and the revisions that a release has shipped, with their digests: written by `make release`.

The list is one that `sha256sum --check sql/frozen.sha256` reads, too.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = Path("sql", "frozen.sha256")


def digests(root: Path) -> dict[str, str]:
    """Return the digest of every file of SQL and every revision, by its path below the root."""
    files = [*(root / "sql").rglob("*.sql"), *(root / "migrations" / "versions").glob("*.py")]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def released(root: Path) -> dict[str, str]:
    """Return the same as the list has it: nothing before the first release."""
    if not (root / LIST).exists():
        return {}
    lines = (root / LIST).read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def objections(root: Path) -> list[str]:
    """Return a sentence for each file that is not as it was released."""
    now = digests(root)
    return [
        f"{name} is {'changed' if name in now else 'gone'}, and databases have been migrated with it: put it back "
        "as it was, and write a new version of the file and a revision that installs it (CONTRIBUTING.md, Change a "
        "function, a view, a trigger)"
        for name, digest in released(root).items()
        if now.get(name) != digest
    ]


def freeze(root: Path) -> None:
    """Write the list, with what is new since the last release.

    Raises:
        SystemExit: a file is not as it was released.
    """
    if found := objections(root):
        raise SystemExit("\n".join(found))
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests(root).items())]
    (root / LIST).write_text("".join(lines))
    print(f"{root / LIST}: {len(lines)} files", file=sys.stderr)


if __name__ == "__main__":
    freeze(ROOT)
