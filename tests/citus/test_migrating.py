"""The migrations see that the app's tables are distributed; what they cannot work with is refused before anything."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from checks import guards, migrate
from checks.errors import UserError
from tests.citus.cluster import Cluster

LEFT = """
select class.relname::text from pg_class as class
inner join pg_namespace as schema on schema.oid = class.relnamespace
where schema.nspname = 'integrity'
union all
select tgname::text from pg_trigger where tgname like 'integrity\\_%'
union all
select conname::text from pg_constraint where conname like 'integrity\\_%'
union all
select proname::text from pg_proc where pronamespace = to_regnamespace('integrity')
"""
USERS = "select create_reference_table('users_user')"
QUESTS = "select create_distributed_table('quests_quest', 'id')"
OTHERS = (
    "select create_distributed_table('applications_application', 'quest_id', colocate_with => 'quests_quest')",
    "select create_distributed_table('quests_questparticipant', 'quest_id', colocate_with => 'quests_quest')",
)
KEYS = """
do $$
declare
  one record;
begin
  for one in
    select conrelid::regclass as relation, conname
    from pg_constraint
    where connamespace = 'public'::regnamespace and contype in ('f', 'p', 'u')
    and conrelid::regclass::text in ('quests_quest', 'applications_application', 'quests_questparticipant')
    order by contype
  loop
    execute format('alter table %s drop constraint %I cascade', one.relation, one.conname);
  end loop;
end
$$
"""
# Without what keeps quests from being distributed: foreign keys, and keys without the id.
FREE = """
do $$
declare
  one record;
begin
  for one in
    select conrelid::regclass as relation, conname
    from pg_constraint
    where connamespace = 'public'::regnamespace
    and (contype = 'f' or (conrelid = 'quests_quest'::regclass and contype = 'u' and conname !~ '^integrity'))
  loop
    execute format('alter table %s drop constraint %I', one.relation, one.conname);
  end loop;
end
$$
"""


@pytest.fixture
def undistributed(cluster: Cluster) -> Iterator[str]:
    with cluster.database("integrity_refused") as name:
        cluster.create_app_tables(name)
        yield name


def _distribute(connection: psycopg.Connection[Any], *statements: str) -> None:
    connection.execute(KEYS)
    for table in ("applications_application", "quests_questparticipant"):
        connection.execute(f"alter table {table} add primary key (id, quest_id)".encode())
    connection.execute("alter table quests_quest add primary key (id)")
    for statement in statements:
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        ((QUESTS, *OTHERS), "users_user: found on the coordinator only; expected a reference table"),
        ((USERS, QUESTS, OTHERS[0]), "quests_questparticipant: found on the coordinator only; expected distributed by"),
        (
            (USERS, QUESTS, OTHERS[0], OTHERS[1].replace("'quests_quest'", "'none'")),
            "quests_questparticipant: found not colocated with quests_quest; expected colocated",
        ),
        (
            (USERS, QUESTS, OTHERS[0], "select create_distributed_table('quests_questparticipant', 'user_id')"),
            "quests_questparticipant: found distributed by user_id; expected distributed by quest_id",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    cluster: Cluster, undistributed: str, statements: tuple[str, ...], sentence: str
) -> None:
    with cluster.connect(undistributed) as connection:
        if "user_id')" in statements[-1]:
            statements = (
                "alter table quests_questparticipant drop constraint quests_questparticipant_pkey",
                *statements,
            )
        _distribute(connection, *statements)

        with pytest.raises(UserError, match="do not fit the integrity layer; nothing was changed") as refusal:
            migrate.upgrade(cluster.target(undistributed))

        assert sentence in str(refusal.value)
        assert connection.execute("select to_regnamespace('integrity')").fetchone() == (None,)


def test_rows_left_on_the_coordinator_are_refused(cluster: Cluster, undistributed: str) -> None:
    with cluster.connect(undistributed) as connection:
        connection.execute(
            "insert into users_user (id, password, is_superuser, username, first_name, last_name, "
            "is_staff, is_active, date_joined, email) values (gen_random_uuid(), '', false, 'a', '', "
            "'', false, true, now(), 'a')"
        )
        connection.execute("insert into quests_questcategory (name, created_at) values ('a', now())")
        connection.execute(
            "insert into quests_quest (title, description, difficulty, status, xp_reward, gold_reward, "
            "commission_fee, created_at, updated_at, requirements, resources, slug, is_deleted, category_id, "
            "creator_id) select 'a', '', 'easy', 'open', 0, 0, 0, now(), now(), '', '', 'a', false, 1, id "
            "from users_user"
        )
        _distribute(connection, USERS, QUESTS, *OTHERS)

        with pytest.raises(UserError, match="truncate_local_data_after_distributing_table"):
            migrate.upgrade(cluster.target(undistributed))


def test_an_older_extension_is_refused(cluster: Cluster, undistributed: str) -> None:
    cluster.distribute(undistributed)
    with cluster.connect(undistributed) as connection:
        # Citus itself would refuse an extension that is not of its library.
        connection.execute(f"alter database {undistributed} set citus.enable_version_checks = off".encode())
        connection.execute("set citus.enable_version_checks = off")
        connection.execute("set allow_system_table_mods = on")
        connection.execute("update pg_extension set extversion = '12.1-1' where extname = 'citus'")

        with pytest.raises(UserError, match="nothing was changed") as refusal:
            migrate.upgrade(cluster.target(undistributed))

        assert "extension citus: found 12.1-1; expected 13 or newer" in str(refusal.value)
        assert connection.execute("select to_regnamespace('integrity')").fetchone() == (None,)


def test_distributed_after_attaching_is_damage(cluster: Cluster, undistributed: str) -> None:
    migrate.upgrade(cluster.target(undistributed))
    with cluster.connect(undistributed) as connection:
        assert guards.damaged(connection) == []
        connection.execute("set citus.enable_unsafe_triggers = on")
        connection.execute(FREE)
        connection.execute(USERS)
        connection.execute(QUESTS)

        said = [guard.detail for guard in guards.damaged(connection) if guard.kind == "distribution"]

        assert any("expected distributed by quest_id, found on the coordinator only" in detail for detail in said)
        assert any(guard.identity == "table integrity.event" for guard in guards.damaged(connection))


def test_the_log_goes_with_the_quests(shared: psycopg.Connection[Any]) -> None:
    placed = shared.execute(
        "select count(distinct colocationid), count(*) from pg_dist_partition "
        "where logicalrelid in ('quests_quest'::regclass, 'integrity.event'::regclass)"
    ).fetchone()

    assert placed == (1, 2)
    assert guards.damaged(shared) == []


def test_where_nothing_is_distributed_an_audit_is_as_fast_as_ever(cluster: Cluster) -> None:
    with cluster.database("integrity_local_audit") as name:
        cluster.create_app_tables(name)
        migrate.upgrade(cluster.target(name))
        with cluster.connect(name) as connection:
            assert connection.execute("select integrity.is_distributed()").fetchone() == (False,)
            assert connection.execute("select count(*) > 0 from integrity.suspects()").fetchone() == (True,)


@pytest.fixture
def leaving(cluster: Cluster) -> Iterator[str]:
    with cluster.attached("integrity_leaving") as name:
        yield name


def test_a_downgrade_leaves_nothing_on_any_node(cluster: Cluster, leaving: str) -> None:
    def left(node: tuple[str, int]) -> list[Any]:
        with cluster.on(node, leaving) as connection:
            return connection.execute(LEFT).fetchall()

    assert all(left(node) for node in cluster.workers)
    migrate.downgrade(cluster.target(leaving), "base")

    assert {node: left(node) for node in (cluster.coordinator, *cluster.workers)} == {
        node: [] for node in (cluster.coordinator, *cluster.workers)
    }
