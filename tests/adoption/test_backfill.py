"""The markers of existing rows: filled in batches, beside writers, from where an earlier run got to."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from checks import migrate
from checks.progress import Progress
from tests.support import factory
from tests.support.database import another, target_of
from tests.support.programs import alembic
from tests.support.revisions import MARKERS, wrong_markers
from tests.support.waiting import wait_until_blocked

_Connection = psycopg.Connection[Any]

APPROVED, OTHERS = 60, 20


@pytest.fixture
def unmarked(live: _Connection) -> _Connection:
    """Return a database in which the upgrade is about to fill in the markers of some rows."""
    with live.transaction():
        quest_id = factory.quest(live, status="in-progress")
        for number in range(APPROVED + OTHERS):
            status = "approved" if number % 4 else "pending"
            user_id = factory.user(live)
            factory.application(live, quest_id, user_id, status=status)
            if status == "approved":
                factory.participant(live, quest_id, user_id)
        # Ids of an app have gaps.
        live.execute("delete from applications_application where id % 10 = 3")
    migrate.upgrade(target_of(live), "0004_markers")
    return live


def _batches(connection: _Connection, relation: str, size: int) -> Iterator[int]:
    while True:
        row = connection.execute("select integrity.backfill_batch(%s, %s)", [relation, size]).fetchone()
        if row == (None,):
            return
        assert row is not None
        yield row[0]


def _ids(connection: _Connection, where: str = "true") -> list[int]:
    found = connection.execute(f"select id from applications_application where {where} order by id")
    return [each for (each,) in found]


def _prepare(connection: _Connection) -> None:
    """Go on to where the procedures are, with nothing marked yet."""
    migrate.upgrade(target_of(connection), "0005_backfill")
    for table, (marker, _) in MARKERS.items():
        # The trigger that marks would see to it that nothing can be unmarked.
        connection.execute(f"alter table {table} disable trigger integrity_mark")
        connection.execute(f"update {table} set {marker} = null")
        connection.execute(f"alter table {table} enable trigger integrity_mark")
    connection.execute("update integrity.backfill set last_id = default, rows_marked = default, finished_at = default")


def test_a_batch_is_so_many_rows_by_id(unmarked: _Connection) -> None:
    """Whatever their markers; so a batch is never longer than that, however sparse the ids are."""
    _prepare(unmarked)
    ids = _ids(unmarked)
    reached = list(_batches(unmarked, "applications_application", 7))
    assert reached == [*ids[6::7], *([ids[-1]] if len(ids) % 7 else [])]
    assert _ids(unmarked, "integrity_approved") == _ids(unmarked, "status = 'approved'")


def test_each_batch_is_a_transaction_of_its_own(unmarked: _Connection) -> None:
    upgrade = alembic(unmarked, "-x", "backfill-batch=10", "upgrade", "0005_backfill")
    _, said = upgrade.communicate(timeout=120)
    assert upgrade.returncode == 0, said
    transactions = unmarked.execute(
        "select count(distinct xmin::text), count(*) from applications_application where integrity_approved"
    ).fetchone()
    rows = len(_ids(unmarked))
    marked = len(_ids(unmarked, "status = 'approved'"))
    assert transactions == (-(-rows // 10), marked)


def test_progress_is_kept_with_the_batch(unmarked: _Connection) -> None:
    """Both are committed, or neither: nothing can be skipped."""
    _prepare(unmarked)
    with unmarked.transaction():
        last_id = next(_batches(unmarked, "applications_application", 10))
    with unmarked.transaction(force_rollback=True):
        next(_batches(unmarked, "applications_application", 10))
    progress = unmarked.execute(
        "select last_id, rows_marked from integrity.backfill where relation = 'applications_application'"
    ).fetchone()
    assert progress == (last_id, len(_ids(unmarked, "integrity_approved")))
    assert _ids(unmarked, "integrity_approved") == _ids(unmarked, f"status = 'approved' and id <= {last_id}")


def test_it_goes_on_from_where_it_was(unmarked: _Connection) -> None:
    """Rows up to there are not looked at again, right or wrong."""
    _prepare(unmarked)
    last_id = next(_batches(unmarked, "applications_application", 10))
    unmarked.execute("alter table applications_application disable trigger integrity_mark")
    unmarked.execute("update applications_application set integrity_approved = null")
    list(_batches(unmarked, "applications_application", 10))
    assert _ids(unmarked, "integrity_approved") == _ids(unmarked, f"status = 'approved' and id > {last_id}")


def test_a_row_that_a_client_holds_is_left_to_the_sweep(unmarked: _Connection) -> None:
    """The batches pass it by, then it is waited for, alone."""
    held = _ids(unmarked, "status = 'approved'")[3]
    with another(unmarked) as client:
        client.execute("select from applications_application where id = %s for update", [held])
        upgrade = alembic(unmarked, "-x", "backfill-batch=10", "-x", "lock-timeout=100ms", "upgrade", "0005_backfill")
        assert upgrade.stderr is not None
        # Only the sweep waits for rows.
        while "trying again" not in upgrade.stderr.readline():
            assert upgrade.poll() is None
        assert _ids(unmarked, "status = 'approved' and integrity_approved is null") == [held]
        client.commit()
    _, said = upgrade.communicate(timeout=120)
    assert upgrade.returncode == 0, said
    assert wrong_markers(unmarked) == {}
    unfinished = unmarked.execute("select relation from integrity.backfill where finished_at is null").fetchall()
    assert unfinished == []


def test_the_sweep_cannot_deadlock_a_client(unmarked: _Connection) -> None:
    """It waits for one row and holds none meanwhile: a client that holds that one may take any other."""
    _prepare(unmarked)
    first, second = _ids(unmarked, "status = 'approved'")[:2]
    with another(unmarked) as client, another(unmarked, autocommit=True) as sweeper:
        client.execute("update applications_application set reviewed_at = now() where id = %s", [first])
        sweep = threading.Thread(
            target=sweeper.execute, args=("select integrity.backfill_sweep('applications_application')",)
        )
        sweep.start()
        wait_until_blocked(unmarked, sweeper.info.backend_pid)
        client.execute("set lock_timeout = '5s'")
        client.execute("update applications_application set reviewed_at = now() where id = %s", [second])
        client.commit()
        sweep.join(30)
        assert not sweep.is_alive()


def test_a_row_that_stops_qualifying_while_it_is_waited_for(unmarked: _Connection) -> None:
    """The client who held it ended the approval: it must not be marked for what it was."""
    _prepare(unmarked)
    list(_batches(unmarked, "applications_application", 1000))
    unmarked.execute("alter table applications_application disable trigger integrity_mark")
    held = _ids(unmarked, "status = 'approved'")[0]
    unmarked.execute("update applications_application set integrity_approved = null where id = %s", [held])
    unmarked.execute("alter table applications_application enable trigger integrity_mark")
    with another(unmarked) as client, another(unmarked, autocommit=True) as sweeper:
        client.execute("update applications_application set status = 'kicked' where id = %s", [held])
        sweep = threading.Thread(
            target=sweeper.execute, args=("select integrity.backfill_sweep('applications_application')",)
        )
        sweep.start()
        wait_until_blocked(unmarked, sweeper.info.backend_pid)
        client.commit()
        sweep.join(30)
    marker = unmarked.execute("select integrity_approved from applications_application where id = %s", [held])
    assert marker.fetchone() == (None,)


def test_writers_beside_the_backfill_end_with_the_right_markers(unmarked: _Connection) -> None:
    """Every status changes back and forth, rows come and go, while every batch is a few rows long."""
    stop = threading.Event()
    writes = [0, 0]
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with another(unmarked, autocommit=True) as client:
                while not stop.is_set():
                    for status in ("kicked", "approved", "rejected"):
                        client.execute(
                            "update applications_application set status = %s where id in"
                            " (select id from applications_application order by random() limit 3)",
                            [status],
                        )
                    client.execute("update quests_questparticipant set status = 'dropped' where random() < 0.1")
                    client.execute("update quests_questparticipant set status = 'joined' where random() < 0.1")
                    client.execute(
                        "update quests_quest set assigned_to_id = case when assigned_to_id is null then creator_id end"
                    )
                    with client.transaction():
                        factory.application(
                            client, _quest(client), _somebody(client), status="approved" if number else "pending"
                        )
                    writes[number] += 1
        except errors.DeadlockDetected:
            # The writers' own: each changes several rows at once, in no order.
            write(number)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    upgrade = alembic(
        unmarked,
        "-x",
        "backfill-batch=3",
        "-x",
        "backfill-pause=1ms",
        "-x",
        "lock-timeout=200ms",
        "upgrade",
        "0005_backfill",
    )
    _, said = upgrade.communicate(timeout=120)
    stop.set()
    for writer in writers:
        writer.join()
    assert failures == []
    assert upgrade.returncode == 0, said
    assert min(writes) > 0
    assert wrong_markers(unmarked) == {}


def _quest(connection: _Connection) -> int:
    row = connection.execute("select min(id) from quests_quest").fetchone()
    assert row is not None
    return int(row[0])


def _somebody(connection: _Connection) -> Any:
    row = connection.execute("select id from users_user order by random() limit 1").fetchone()
    assert row is not None
    return row[0]


def test_rate_counts_what_was_measured(capfd: pytest.CaptureFixture[str]) -> None:
    """The first report comes after the first batch: its rows took a time that is not known."""
    with Progress() as progress:
        # Long ago, or it would not be worth a line.
        progress._began -= 10
        progress.at("rows", 1_000_000, 1_000_100)
        progress.at("rows", 1_000_100, 1_000_100)
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"([0-9,]+)/s", capfd.readouterr().err)]
    assert all(rate < 1_000_000 * 10 for rate in rates)


def test_progress_is_shown(unmarked: _Connection) -> None:
    """Plain lines where stderr is no terminal, of what takes over a second: what, how far, of how many."""
    upgrade = alembic(unmarked, "-x", "backfill-batch=10", "-x", "backfill-pause=300ms", "upgrade", "0005_backfill")
    _, said = upgrade.communicate(timeout=120)
    for table in MARKERS:
        lines = [line for line in said.splitlines() if f"{table}:" in line]
        assert lines
        last = max(unmarked.execute(f"select id from {table}").fetchall())[0]
        assert f"{last:,} of {last:,}" in lines[-1]
