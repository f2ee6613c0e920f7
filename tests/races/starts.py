"""How the layer is when a race starts: attached, switched off in sessions, detached, or with everything enforced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from checks import attachment, ddl, migrate
from tests.races.catalogue import STATES, State
from tests.support.templates import enforce


@dataclass(frozen=True)
class Start:
    """What a race starts from, beside its rows.

    Args:
        name: How reports call it.
        off: How many sessions, from the first on, have set integrity.mechanism to off.
        detached: The layer is detached.
        enforced: All that is law on request is enforced.
    """

    name: str
    off: int = 0
    detached: bool = False
    enforced: bool = False

    @property
    def states(self) -> Sequence[State]:
        """The rows that a race can start from."""
        return tuple(state for state in STATES if state.name in ENFORCEABLE) if self.enforced else STATES


ATTACHED = Start("attached")
# Here nobody writes what has to follow, in one session or in all of them, and the law alone decides.
OTHER_STARTS = (
    Start("mechanism off in one session", off=1),
    Start("mechanism off", off=3),
    Start("detached", detached=True),
    Start("everything enforced", enforced=True),
)
# Nobody has joined directly, no quest is shared, and nobody has applied twice.
ENFORCEABLE = {"taken", "left", "completed"}
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


def enforce_everything(conninfo: str) -> None:
    """Enforce all that is law on request, as a superuser."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        enforce(connection)
