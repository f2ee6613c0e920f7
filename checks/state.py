"""The state folder: what is kept between runs, made by one process at a time."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import platformdirs

from checks.errors import UserError

APP = "quest-integrity"
STATE_VARIABLE = "QUEST_INTEGRITY_STATE_DIR"


def state_folder() -> Path:
    """Return the folder, created if need be, that keeps the current user's server.

    ``QUEST_INTEGRITY_STATE_DIR`` overrides it. Root's is outside /root, because ``nobody`` has to enter it.

    Raises:
        UserError: It cannot be created.
    """
    if given := os.environ.get(STATE_VARIABLE):
        folder = Path(given).resolve()
    elif os.geteuid() == 0:
        folder = Path("/var/lib") / APP
    else:
        folder = platformdirs.user_state_path(APP).resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(0o755)
    except OSError as error:
        raise UserError(
            f"cannot create {folder} for the embedded PostgreSQL ({error.strerror}): set {STATE_VARIABLE} "
            "to a folder that can be written, or name a database with --database-url"
        ) from error
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[IO[str]]:
    """Let one process at a time into a ``with`` block about a folder, which need not exist; yield the locked file."""
    # Beside the folder, not in it: it must exist before the folder does.
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


@contextlib.contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Yield a new folder to fill, which gets its name at the end: who is killed leaves nothing that looks finished."""
    for leftover in folder.parent.glob(f"{folder.name}.new-*"):
        shutil.rmtree(leftover)
    new = Path(tempfile.mkdtemp(prefix=f"{folder.name}.new-", dir=folder.parent))
    yield new
    new.rename(folder)
