"""Live databases to adopt: Django's own tables and more around them, clean, or with every rule broken."""

from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from checks import migrate
from tests.django_app import database
from tests.support import plant, templates
from tests.support.catalog import Snapshot, snapshot
from tests.support.database import copied, copy_of
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]

# What an app has that the layer knows nothing of: columns, tables in other schemas that refer to its tables, views,
# triggers, grants, a publication.
SURROUNDINGS = """
alter table users_user add column level integer not null default 1;
alter table quests_quest add column tags text[] not null default '{}';
alter table quests_quest add column search tsvector generated always as (to_tsvector('simple', title)) stored;
alter table applications_application add column letter text;
alter table quests_questparticipant add column rating integer;
alter table quests_questparticipant add column team text not null default 'solo';
comment on column quests_questparticipant.rating is 'Given by the owner of the quest.';
alter table quests_questparticipant alter column team set statistics 500;

create schema rewards;
create table rewards.badge (
  id bigint generated always as identity primary key,
  quest_participant_id bigint not null references public.quests_questparticipant (id) deferrable initially deferred,
  quest_id bigint not null references public.quests_quest (id) deferrable initially deferred,
  application_id bigint references public.applications_application (id) on delete set null
);
create view rewards.standing as
select participant.user_id, count(*) as quests
from public.quests_questparticipant as participant
group by participant.user_id;

create table public.audit (id bigint generated always as identity, said text);
create function public.write_audit() returns trigger language plpgsql as $$
begin
  insert into public.audit (said) values (tg_table_name || ' ' || lower(tg_op));
  return null;
end
$$;
-- The backfill updates rows; a trigger of the app on every update would run for it as for anybody else's.
create trigger audited after insert or update of title or delete on quests_quest
for each statement execute function public.write_audit();

grant select on quests_quest, applications_application to public;
create publication everything for all tables;
"""

BADGES = """
insert into rewards.badge (quest_participant_id, quest_id)
select id, quest_id from quests_questparticipant
"""

# What the template was planted with; the template is made in this process, once.
_planted: list[plant.Planted] = []


def _load_live(*, autocommit: bool, **where: Any) -> None:
    database.create_app_tables(make_conninfo(**where))
    with psycopg.connect(**where) as connection:
        connection.execute(SURROUNDINGS)


def _load_dirty(*, autocommit: bool, **where: Any) -> None:
    _load_live(autocommit=autocommit, **where)
    with psycopg.connect(**where) as connection:
        plant.sound_rows(connection)
        _planted.extend(plant.everything(connection))
        connection.execute(BADGES)


def _load_attached(**where: Any) -> None:
    _load_live(**where)
    migrate.upgrade(templates.target_of_template(**where))


live_server = factories.postgresql_noproc(dbname="live", load=[_load_live])
attached_server = factories.postgresql_noproc(dbname="attached", load=[_load_attached])
dirty_server = factories.postgresql_noproc(dbname="dirty", load=[_load_dirty])

_live = copy_of("live_server")
_attached = copy_of("attached_server")
_dirty = copy_of("dirty_server")


@pytest.fixture
def live(_live: _Connection) -> _Connection:
    """Return a connection, in autocommit mode, to Django's database without rows."""
    _live.autocommit = True
    return _live


@pytest.fixture
def attached(_attached: _Connection) -> _Connection:
    """Return a connection, in autocommit mode, to `live` after it was adopted."""
    _attached.autocommit = True
    return _attached


@pytest.fixture
def dirty(_dirty: _Connection) -> _Connection:
    """Return a connection, in autocommit mode, to Django's database with every rule broken."""
    _dirty.autocommit = True
    return _dirty


@pytest.fixture
def planted(dirty: _Connection) -> list[plant.Planted]:
    """Return what is broken in `dirty`."""
    return list(_planted)


def _without_duplicates(connection: _Connection) -> None:
    """Delete duplicate participants, which keep two of the foreign keys from being attached."""
    connection.execute(
        "delete from rewards.badge where quest_participant_id in (select id from quests_questparticipant as later"
        " where exists (select from quests_questparticipant as earlier"
        " where (earlier.quest_id, earlier.user_id) = (later.quest_id, later.user_id) and earlier.id < later.id))"
    )
    connection.execute(
        "delete from quests_questparticipant as later where exists (select from quests_questparticipant as earlier"
        " where (earlier.quest_id, earlier.user_id) = (later.quest_id, later.user_id) and earlier.id < later.id)"
    )
    connection.execute("alter table quests_questparticipant add constraint participant_key unique (quest_id, user_id)")


@pytest.fixture
def attachable(dirty: _Connection) -> _Connection:
    """Return `dirty` without duplicate participants."""
    _without_duplicates(dirty)
    return dirty


@pytest.fixture(scope="session")
def undisturbed(dirty_server: NoopExecutor) -> Snapshot:
    """Return the catalog that an upgrade of `attachable` leaves which nobody interrupts or is in the way of."""
    with copied(dirty_server, "undisturbed") as connection:
        connection.autocommit = True
        _without_duplicates(connection)
        attach(connection)
        return snapshot(connection)
