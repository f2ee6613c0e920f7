"""How the layer is when a race starts: attached, switched off in sessions, or detached."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from checks import attachment, ddl, migrate


@dataclass(frozen=True)
class Start:
    """What a race starts from, beside its rows.

    Args:
        name: How reports call it.
        off: How many sessions, from the first on, have set integrity.mechanism to off.
        detached: The layer is detached.
    """

    name: str
    off: int = 0
    detached: bool = False


ATTACHED = Start("attached")
# Here nobody writes what has to follow, in one session or in all of them, and the law alone decides.
OTHER_STARTS = (
    Start("mechanism off in one session", off=1),
    Start("mechanism off", off=3),
    Start("detached", detached=True),
)
START_BY_NAME: Mapping[str, Start] = {start.name: start for start in (ATTACHED, *OTHER_STARTS)}


def detach(conninfo: str) -> None:
    """Detach the layer of a database; its rule views are put back, to judge the races.

    Args:
        conninfo: The database, as a superuser.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        attachment.detach(connection, ddl.LockPolicy())
        # As when attaching was stopped after its first step.
        files = migrate.installed_files(migrate.head_revision(), "public")
        attachment._step(connection, lambda: attachment._build(connection, files, triggers=False))
        assert attachment.since(connection)
