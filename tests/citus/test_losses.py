"""Shards that move and nodes that are killed, under approvals: nothing acknowledged is lost, and no half of a pair."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checks import guards
from tests.citus.cluster import Cluster

PAIRS = 3000
BEFORE, AFTER = 100, 200

PEOPLE = """
insert into users_user (
  id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email
)
select gen_random_uuid(), '', false, 'loss' || number, '', '', false, true, now(), 'loss' || number
from generate_series(1, 10) as number
"""
CATEGORY = "insert into quests_questcategory (name, created_at) values ('losses', now()) returning id"
QUESTS = """
insert into quests_quest (
  title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at, requirements,
  resources, slug, is_deleted, category_id, creator_id
)
select '', '', 'easy', 'open', 0, 0, 0, now(), now(), '', '', 'loss' || number, false, %s, %s
from generate_series(1, %s) as number
returning id
"""
APPLICATIONS = """
insert into applications_application (status, applied_at, applicant_id, quest_id)
select 'pending', now(), %s, quest_id from unnest(%s::bigint[]) as quest_id
"""
NODES = """
select quest_id, placement.groupid
from unnest(%s::bigint[]) as quest_id
inner join pg_dist_placement as placement
  on placement.shardid = get_shard_id_for_distribution_column('quests_quest', quest_id)
"""
APPROVED = "update applications_application set status = 'approved' where quest_id = %s"


@dataclass
class Load:
    """A session that approves pairs of applications, one on each of two nodes, until it is told to stop."""

    cluster: Cluster
    database: str
    pairs: list[tuple[int, int]]
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    failures: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Approve pair after pair; after an error go on with the next one on a new connection."""
        pending = iter(self.pairs)
        while not self.stopped.is_set():
            try:
                with psycopg.connect(self.cluster.target(self.database).conninfo, connect_timeout=5) as session:
                    session.autocommit = True
                    for pair in pending:
                        with session.transaction():
                            for quest_id in pair:
                                session.execute(APPROVED, [quest_id])
                        self.acknowledged.append(pair)
                        if self.stopped.is_set():
                            return
                    return
            except psycopg.Error:
                self.failures += 1
                time.sleep(0.05)

    def wait_for(self, more: int, seconds: float = 300) -> None:
        """Wait until so many more pairs are acknowledged."""
        wanted, deadline = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} of {wanted} after {seconds} s"
            time.sleep(0.02)


@pytest.fixture
def load(cluster: Cluster, attached: str) -> Iterator[Load]:
    with cluster.connect(attached) as session:
        person = session.execute("select id from users_user where username = 'loss1'").fetchone()
        if person is None:
            session.execute(PEOPLE)
            person = session.execute("select id from users_user where username = 'loss1'").fetchone()
        category = session.execute(CATEGORY).fetchone()
        assert person is not None
        assert category is not None
        ids = [one for (one,) in session.execute(QUESTS, [category[0], person[0], 2 * PAIRS])]
        session.execute(APPLICATIONS, [person[0], ids])
        placed: dict[int, list[int]] = {}
        for quest_id, group in session.execute(NODES, [ids]):
            placed.setdefault(group, []).append(quest_id)
    first, second, *_ = sorted(placed.values(), key=len, reverse=True)
    running = Load(cluster, attached, list(zip(first, second, strict=False)))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.stopped.set()
        thread.join(60)


def _settled(load: Load) -> None:
    """Stop the load, then make sure that every pair is whole and nothing acknowledged is lost."""
    load.wait_for(AFTER)
    load.stopped.set()
    with load.cluster.connect(load.database) as session:
        deadline = time.monotonic() + 120
        while session.execute("select recover_prepared_transactions()").fetchone() != (0,):
            assert time.monotonic() < deadline
        tried = [quest_id for pair in load.pairs for quest_id in pair]
        approved = {
            quest_id
            for (quest_id,) in session.execute(
                "select quest_id from applications_application where status = 'approved' and quest_id = any(%s)",
                [tried],
            )
        }
        logged = {
            quest_id
            for (quest_id,) in session.execute(
                "select quest_id from integrity.event where kind = 'application_approved' and quest_id = any(%s)",
                [tried],
            )
        }
        errors = session.execute("select count(*) from integrity.violations where severity = 'error'").fetchone()

    assert [pair for pair in load.pairs if len(approved & set(pair)) == 1] == []
    assert {quest_id for pair in load.acknowledged for quest_id in pair} <= approved
    assert logged == approved
    assert errors == (0,)


@pytest.mark.slow
def test_a_shard_moves_under_approvals(cluster: Cluster, attached: str, load: Load) -> None:
    load.wait_for(BEFORE)
    with cluster.connect(attached) as session:
        shard, host, port = session.execute(
            "select placed.shardid, node.nodename, node.nodeport "
            "from pg_dist_placement as placed inner join pg_dist_node as node on node.groupid = placed.groupid "
            "where placed.shardid = get_shard_id_for_distribution_column('quests_quest', %s)",
            [load.pairs[0][0]],
        ).fetchone() or (0, "", 0)
        (to,) = [worker for worker in cluster.workers if worker != (host, port)][:1]
        session.execute("select citus_move_shard_placement(%s, %s, %s, %s, %s)", [shard, host, port, *to])

        _settled(load)
        assert load.failures == 0
        assert guards.damaged(session) == []


@dataclass(frozen=True)
class Postmaster:
    """The main process of a node on this machine."""

    pid: int
    data: str
    program: Path
    user: int
    group: int

    def kill(self) -> None:
        """Kill it, with its sessions."""
        os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while Path(f"/proc/{self.pid}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def start(self) -> None:
        """Start it again, waiting until its old sessions have gone."""
        command = [str(self.program.with_name("pg_ctl")), "-D", self.data, "-l", f"{self.data}/log", "-w", "start"]
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run(
                command,
                user=self.user,
                group=self.group,
                extra_groups=[],
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _postmaster(cluster: Cluster, node: tuple[str, int], database: str) -> Postmaster:
    with psycopg.connect(cluster.at(node, database)) as connection:
        row: Any = connection.execute(
            "select pg_read_file('postmaster.pid'), current_setting('data_directory')"
        ).fetchone()
    process = Path(f"/proc/{row[0].splitlines()[0]}")
    if not process.exists() or row[1].encode() not in (process / "cmdline").read_bytes():
        pytest.skip("the nodes are on another machine")
    owner = process.stat()
    if os.geteuid() not in {0, owner.st_uid}:
        pytest.skip("the nodes are another user's")
    return Postmaster(int(process.name), row[1], (process / "exe").resolve(), owner.st_uid, owner.st_gid)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["a worker", "the coordinator"])
def test_a_node_is_killed_under_approvals(cluster: Cluster, attached: str, load: Load, which: str) -> None:
    load.wait_for(BEFORE)
    with cluster.connect(attached) as session:
        row: Any = session.execute(NODES, [[load.pairs[0][0]]]).fetchone()
        host_and_port: Any = session.execute(
            "select nodename, nodeport from pg_dist_node where groupid = %s", [row[1]]
        ).fetchone()
    node = cluster.coordinator if which == "the coordinator" else host_and_port
    victim = _postmaster(cluster, node, attached)

    victim.kill()
    victim.start()

    _settled(load)
    assert load.failures > 0
