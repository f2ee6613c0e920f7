"""A live app, played by pgbench: it writes as PeerQuest does, and books what was acknowledged to it."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.database import url_of
from tests.support.programs import program

_Connection = psycopg.Connection[Any]

CLIENTS = 6

# In the same transaction as what it speaks of: a row here is a write that a client was told is done.
_BOOKS = """
create schema traffic;
create table traffic.acknowledged (
  id bigint generated always as identity primary key,
  what text not null,
  quest_id bigint not null,
  user_id uuid not null,
  application_id bigint
);
"""

# Of one application in turn pending, approved and kicked: whoever loads it writes what the page offered.
_APPROVE = """
\\set application random(1, :applications)
begin;
with reviewed as (
  update applications_application as mine set status = 'approved', reviewed_at = now()
  where id = :application and status in ('pending', 'kicked')
    -- A second approval of the same person is refused, and known to be.
    and not exists (
      select from applications_application as other
      where (other.quest_id, other.applicant_id) = (mine.quest_id, mine.applicant_id) and other.id <> mine.id
    )
  returning quest_id, applicant_id
)
select count(*) as reviewed, coalesce(max(quest_id), 0) as quest, coalesce(max(applicant_id::text), '') as applicant
from reviewed \\gset
\\if :reviewed
select count(*) as known from quests_questparticipant where quest_id = :quest and user_id = ':applicant' \\gset
\\if :known
update quests_questparticipant set status = 'joined' where quest_id = :quest and user_id = ':applicant'
and status = 'dropped';
\\else
insert into quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)
values (:quest, ':applicant', 'joined', now(), '') on conflict do nothing;
\\endif
update quests_quest set assigned_to_id = ':applicant', status = 'in-progress', updated_at = now() where id = :quest;
insert into traffic.acknowledged (what, quest_id, user_id, application_id)
values ('approved', :quest, ':applicant', :application);
\\endif
commit;
"""

# The last statement writes back what the page had shown: the kicked user, and open.
_KICK = """
\\set application random(1, :applications)
begin;
with reviewed as (
  update applications_application set status = 'kicked', reviewed_at = now()
  where id = :application and status = 'approved'
  returning quest_id, applicant_id
)
select count(*) as reviewed, coalesce(max(quest_id), 0) as quest, coalesce(max(applicant_id::text), '') as applicant
from reviewed \\gset
\\if :reviewed
update quests_questparticipant set status = 'dropped' where quest_id = :quest and user_id = ':applicant';
update quests_quest set assigned_to_id = ':applicant', status = 'open', updated_at = now() where id = :quest;
insert into traffic.acknowledged (what, quest_id, user_id, application_id)
values ('kicked', :quest, ':applicant', :application);
\\endif
commit;
"""

_JOIN = """
\\set person random(0, :people - 1)
\\set quest random(1, :quests)
begin;
with joined as (
  insert into quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)
  select quest.id, person.id, 'joined', now(), ''
  from quests_quest as quest
  cross join (select id from users_user order by id offset :person limit 1) as person
  where quest.id = :quest and quest.status = 'open'
    and not exists (
      select from applications_application where quest_id = quest.id and applicant_id = person.id
    )
  on conflict do nothing
  returning quest_id, user_id
)
insert into traffic.acknowledged (what, quest_id, user_id) select 'joined', quest_id, user_id from joined;
commit;
"""

# Loaded in one request, saved in another, whole.
_STALE_SAVE = """
\\set quest random(1, :quests)
select status as shown, coalesce(assigned_to_id::text, '') as assignee from quests_quest where id = :quest \\gset
update quests_quest set status = ':shown', assigned_to_id = nullif(':assignee', '')::uuid, updated_at = now()
where id = :quest;
"""

_READ = """
\\set quest random(1, :quests)
select quest.status, participant.status, application.status from quests_quest as quest
left join quests_questparticipant as participant on participant.quest_id = quest.id
left join applications_application as application on application.quest_id = quest.id
where quest.id = :quest;
"""

_SCRIPTS = {
    "approve": (_APPROVE, 4),
    "kick": (_KICK, 2),
    "join": (_JOIN, 1),
    "stale": (_STALE_SAVE, 2),
    "read": (_READ, 3),
}


class Traffic:
    """Clients at work; made by `traffic`."""

    def __init__(self, connection: _Connection, process: subprocess.Popen[str], said: Path) -> None:
        self._connection = connection
        self._process = process
        self._said = said

    def acknowledged(self) -> int:
        """Return how many writes the clients were told are done."""
        row = self._connection.execute("select count(*) from traffic.acknowledged").fetchone()
        assert row is not None
        return int(row[0])

    def assert_served(self) -> None:
        """Make sure that every client is still at work: pgbench ends one that gets an error it cannot retry."""
        said = self._said.read_text()
        assert self._process.poll() is None, said
        assert "aborted" not in said, said
        assert self.clients() == CLIENTS, said

    def clients(self) -> int:
        """Return how many are connected."""
        row = self._connection.execute(
            "select count(*) from pg_stat_activity where application_name = 'pgbench' and datname = current_database()"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def wait_for_more(self, more: int = 50, seconds: float = 60) -> None:
        """Wait until the clients have got on by so many acknowledged writes."""
        goal = self.acknowledged() + more
        deadline = time.monotonic() + seconds
        while self.acknowledged() < goal:
            assert time.monotonic() < deadline, "the clients do not get on"
            time.sleep(0.01)
        self.assert_served()


@contextlib.contextmanager
def traffic(connection: _Connection) -> Iterator[Traffic]:
    """Run clients on the connection's database for the duration of a `with` block."""
    known = subprocess.run([program("pgbench"), "--help"], check=True, capture_output=True, text=True).stdout
    if "--max-tries" not in known:
        pytest.skip("before PostgreSQL 15, pgbench ends a client that meets a deadlock instead of trying again")
    connection.execute(_BOOKS)
    sizes = connection.execute(
        "select (select max(id) from applications_application), (select max(id) from quests_quest),"
        " (select count(*) from users_user)"
    ).fetchone()
    assert sizes is not None
    with tempfile.TemporaryDirectory() as folder:
        arguments: list[str] = []
        for name, (script, weight) in _SCRIPTS.items():
            path = Path(folder, f"{name}.sql")
            path.write_text(script)
            arguments += ["-f", f"{path}@{weight}"]
        for name, size in zip(("applications", "quests", "people"), sizes, strict=True):
            arguments += ["-D", f"{name}={size}"]
        said = Path(folder, "said")
        with said.open("w") as output:
            process = subprocess.Popen(
                [
                    program("pgbench"),
                    "--no-vacuum",
                    f"--client={CLIENTS}",
                    "--jobs=2",
                    "--time=3600",
                    # Only 40001 and 40P01 are tried again.
                    "--max-tries=1000",
                    *arguments,
                    url_of(connection),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PGAPPNAME": "pgbench"},
            )
        try:
            yield Traffic(connection, process, said)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
