"""The account of the operating system that runs PostgreSQL, and programs run as it.

PostgreSQL refuses to run as root, so root's servers run as ``nobody``; everybody else's run as themselves.
"""

import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from checks.errors import UserError


class _Account(NamedTuple):
    """``None`` everywhere means the current user."""

    uid: int | None
    gid: int | None
    groups: list[int] | None


def uid() -> int:
    """Return the user id of the account.

    Raises:
        UserError: The current user is root, and there is no user nobody.
    """
    other = _account().uid
    return os.geteuid() if other is None else other


def give(*folders: Path) -> None:
    """Make the account the owner of folders that the current user has just made."""
    owner = _account()
    if owner.uid is not None and owner.gid is not None:
        for folder in folders:
            os.chown(folder, owner.uid, owner.gid)


def start(
    arguments: list[object],
    out: IO[bytes] | int,
    err: IO[bytes] | int,
    lock: IO[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a program as the account; it ends when the thread that started it does.

    Args:
        arguments: The program and its arguments.
        out: Its standard output, as for ``subprocess.Popen``.
        err: Its standard error, likewise.
        lock: An open, locked file. The lock is held until the last process that inherited it is gone, even if we
            are killed: nobody takes a folder from under a server, or an initdb, that is still ending.
        environment: Variables for it beside PATH and the locale.

    Raises:
        UserError: There is no setpriv, or no account to run it.
    """
    account = _account()
    # The kernel signals the process when the thread that started it ends. setpriv asks for that after the
    # change of user, which would cancel it. A server that pg_ctl has detached is no longer ours: it lives on.
    bound_to_us = ["setpriv", "--pdeathsig", "QUIT"]
    try:
        return subprocess.Popen(  # noqa: S603 - our own argument list, no shell
            [*bound_to_us, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            errors="replace",
            # Nothing of the caller's environment may steer the server: PGDATA, the locale.
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **_libraries(), **(environment or {})},
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            # Ctrl-C is for the caller, who then stops the server.
            start_new_session=True,
            pass_fds=() if lock is None else (lock.fileno(),),
        )
    except FileNotFoundError as error:
        raise UserError("the embedded PostgreSQL needs the program setpriv: install the package util-linux") from error


def run(program: Path, *arguments: object, lock: IO[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program as the account and wait for it.

    Args:
        program: The program.
        arguments: Its arguments.
        lock: As for ``start``.

    Returns:
        Its exit code and what it printed.

    Raises:
        UserError: As ``start``.
    """
    with start([program, *arguments], subprocess.PIPE, subprocess.PIPE, lock) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(str(program), process.returncode, out, err)


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account(None, None, None)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise UserError(
            "PostgreSQL does not run as root, and there is no user nobody to run it: create that user, run this as "
            "another user, or name a database with --database-url"
        ) from error
    return _Account(nobody.pw_uid, nobody.pw_gid, [])


def _libraries() -> dict[str, str]:
    # Other engines than the packaged one may need to be told where their libraries are.
    given = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": given} if given and os.environ.get("PG_BINDIR") else {}
