"""Who may do what: the whole matrix against one file, and the refusals as the roles meet them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import errors

from checks import server
from tests.roles import privileges
from tests.roles.cluster import APP, BADGES, DBA, OWNER, Cluster, Database
from tests.support import factory, plant
from tests.support.cli import Ran, run_at
from tests.support.database import KEEP_MEMORY

READER, OPERATOR = "auditor", "operator"

# PostgreSQL 17 and later have it.
MAINTAIN = 17


@pytest.fixture(scope="module")
def populated() -> Iterator[Cluster]:
    """A server of its own, where the layer's roles stay as they are: they have a reader and an operator."""
    with server.throwaway(environment=KEEP_MEMORY) as running:
        found = Cluster(running)
        found.admit()
        privileges.migrated(found)
        _people(found)
        yield found


@pytest.fixture(scope="module")
def layer(populated: Cluster) -> Database:
    """A live app's database with the layer, migrated by the tables' owner, that no test changes."""
    return populated.databases[0]


def _people(cluster: Cluster) -> None:
    for person, role in ((READER, "integrity_reader"), (OPERATOR, "integrity_operator")):
        cluster.run(f"create role {person} login in role {role}")


FIX = ("--fix-issues", "--yes", "--missing-participant", "create")
CREATE = """'{"missing_participant": "create"}'"""


class TestTheMatrix:
    def test_is_as_expected(self, layer: Database) -> None:
        with layer.session(DBA) as connection:
            found = privileges.matrix(connection)
        assert found == privileges.EXPECTED.read_text(), "see tests/roles/privileges.py"

    def test_does_not_depend_on_who_migrates(self, cluster: Cluster) -> None:
        """But for the member of integrity_owner, which a superuser need not be."""
        made = cluster.database()
        made.adopt()
        made.upgrade(DBA)
        with made.session(DBA) as connection:
            found = privileges.matrix(connection)
        others = re.compile(rf"^(?!  {OWNER} |{OWNER}:)", re.M)
        expected = privileges.EXPECTED.read_text()
        assert [line for line in found.splitlines() if others.match(line)] == [
            line for line in expected.splitlines() if others.match(line)
        ]
        owners = [line for line in found.splitlines() if line.startswith(f"  {OWNER} ")]
        # What everybody may execute.
        assert [word for line in owners for word in re.findall(r"\+\w+", line)] == ["+execute"] * 3

    @pytest.mark.parametrize(
        ("role", "granted"),
        [
            ("public", {"+execute"}),
            (APP, {"+execute"}),
            ("integrity_reader", {"+usage", "+select", "+execute"}),
            ("integrity_operator", {"+usage", "+select", "+execute"}),
        ],
    )
    def test_nobody_has_more_than_the_role_is_for(self, role: str, granted: set[str]) -> None:
        """Read off the file itself, so that writing it anew cannot let this slip through."""
        lines = [line for line in privileges.EXPECTED.read_text().splitlines() if line.startswith(f"  {role} ")]
        assert len(lines) > 50
        assert {word for line in lines for word in re.findall(r"\+\w+", line)} == granted

    @pytest.mark.parametrize(
        ("role", "more"),
        [
            ("public", set()),
            (APP, set()),
            # What views and `guards` call for those who may read them.
            (
                "integrity_reader",
                {
                    "integrity.distribution_mismatches(text)",
                    "integrity.event_metrics()",
                    "integrity.node_damage()",
                },
            ),
        ],
    )
    def test_what_everybody_may_execute_does_what_its_caller_may_do(self, role: str, more: set[str]) -> None:
        may = re.findall(rf"^(.+)\n(?:  .*\n)*?  {role} +\+execute$", privileges.EXPECTED.read_text(), re.M)
        assert {subject.rsplit(", ", 1)[1] for subject in may} == {
            "integrity.audit()",
            "integrity.is_distributed()",
            "integrity.suspects()",
        } | more
        assert not any(subject.startswith("definer") for subject in may)

    def test_maintain_is_for_owners(self, layer: Database) -> None:
        with layer.session(DBA) as connection:
            if connection.info.server_version // 10000 < MAINTAIN:
                pytest.skip("this PostgreSQL has no privilege MAINTAIN")
            held = connection.execute(
                "select distinct role from pg_class, unnest(%s::text[]) as role "
                "where relnamespace = 'integrity'::regnamespace and relkind in ('r', 'p', 'v') "
                "and has_table_privilege(role, pg_class.oid, 'maintain')",
                [list(privileges.GRANTEES)],
            ).fetchall()
        assert {role for (role,) in held} == {"integrity_owner", OWNER}

    def test_what_the_owner_creates_later_is_closed(self, layer: Database) -> None:
        with layer.session(DBA) as connection, connection.transaction(force_rollback=True):
            connection.execute("set role integrity_owner")
            connection.execute("create function integrity.later() returns int language sql as 'select 1'")
            connection.execute("create table integrity.later (id bigint generated always as identity)")
            open_to_all = connection.execute(
                "select has_function_privilege('public', 'integrity.later()', 'execute'), "
                "has_table_privilege('public', 'integrity.later', 'select'), "
                "has_sequence_privilege('public', 'integrity.later_id_seq', 'usage')"
            ).fetchall()
        assert open_to_all == [(False, False, False)]

    def test_every_function_pins_its_search_path(self, layer: Database) -> None:
        loose = layer.run(
            DBA,
            "select proname, prosecdef from pg_proc where pronamespace = 'integrity'::regnamespace "
            "and not 'search_path=pg_catalog, pg_temp' = any(coalesce(proconfig, '{}'))",
        )
        # It commits, which PostgreSQL allows only without a SET clause, and it is not SECURITY DEFINER.
        assert loose == [("backfill_markers", False)]

    def test_there_are_no_types_to_grant(self, layer: Database) -> None:
        """But the row types of tables and views, which come with them."""
        own = layer.run(
            DBA,
            "select typname from pg_type where typnamespace = 'integrity'::regnamespace and typelem = 0 "
            "and not exists (select from pg_class where reltype = pg_type.oid and relkind <> 'c')",
        )
        assert own == []


class TestRefused:
    """What the matrix denies is refused for real."""

    @pytest.mark.parametrize("who", [APP, READER, OPERATOR])
    @pytest.mark.parametrize(
        "statement",
        [
            "insert into integrity.event (kind, actor, application_name) values ('undone', 'me', '')",
            "update integrity.event set actor = 'somebody else'",
            "truncate integrity.event",
            "drop table integrity.event",
            "alter table integrity.event disable trigger all",
            "delete from integrity.rule",
            "update integrity.law set waits = true",
            "update integrity.repair_item set outcome = 'repaired'",
            "create table integrity.mine (id int)",
            "create or replace function integrity.log_event(text, bigint, uuid, bigint, bigint, jsonb, jsonb) "
            "returns void language sql as ''",
            "alter function integrity.derived_status(text, uuid) reset search_path",
            "select integrity.log_event('undone', null, null, null, null, null, null)",
            "select integrity.retain_events('1 second')",
            "select integrity.grant_roles()",
            "select integrity.revoke_roles()",
            "select integrity.repair_open_quest_with_approval(array[1], array['x'], '{}')",
            "select integrity.restore_row('public.users_user', '{}', '{}', '{}')",
            "select integrity.derive_locked_quest(1, 'open', null)",
            "set role integrity_owner",
        ],
    )
    def test_to_everybody(self, who: str, statement: str, layer: Database) -> None:
        with pytest.raises(errors.InsufficientPrivilege):
            layer.run(who, statement)

    @pytest.mark.parametrize(
        "statement",
        [
            "select * from integrity.event",
            "select * from integrity.violations",
            "select integrity.start_repair('why', '{}')",
            "select integrity.repair_batch(1, 1)",
            "select integrity.operate(1, 1)",
        ],
    )
    def test_to_the_app(self, statement: str, layer: Database) -> None:
        with pytest.raises(errors.InsufficientPrivilege):
            layer.run(APP, statement)

    @pytest.mark.parametrize(
        "statement",
        [
            "select * from integrity.repair_change",
            "select integrity.start_repair('why', '{}')",
            "select integrity.repair_batch(1, 1)",
            "select integrity.operate(1, 1)",
            "select integrity.start_undo(1, 'why')",
            "select * from integrity.quest_rows(array[1])",
        ],
    )
    def test_to_readers(self, statement: str, layer: Database) -> None:
        with pytest.raises(errors.InsufficientPrivilege):
            layer.run(READER, statement)

    @pytest.mark.parametrize("who", [READER, OPERATOR])
    @pytest.mark.parametrize(
        "statement",
        [
            "select password from users_user",
            "select * from quests_questparticipant",
            "update quests_quest set status = 'open'",
            "delete from quests_questparticipant",
            "insert into applications_application (status) values ('approved')",
            "alter table quests_quest disable trigger all",
        ],
    )
    def test_on_the_apps_tables(self, who: str, statement: str, layer: Database) -> None:
        with pytest.raises(errors.InsufficientPrivilege):
            layer.run(who, statement)


def dirty(cluster: Cluster, migrator: str, name: str) -> Database:
    """Create a database that broke every rule when the layer was attached to it."""

    def fill(database: Database) -> None:
        database.adopt()
        with database.session(OWNER) as connection, connection.transaction():
            plant.everything(connection)
            factory.user(connection, username="bob")
        database.upgrade(migrator)

    return cluster.copy(f"dirty_{migrator}", name, fill)


class TestAtTheCommandLine:
    @pytest.fixture(params=[OWNER, DBA])
    def dirty(self, request: pytest.FixtureRequest, populated: Cluster) -> Iterator[Database]:
        made = dirty(populated, request.param, "dirty")
        yield made
        populated.drop(made)

    def ran(self, database: Database, who: str, *arguments: str) -> Ran:
        return run_at(database.url(who), *arguments)

    @pytest.mark.parametrize("who", [READER, OPERATOR])
    def test_readers_and_operators_read(self, who: str, dirty: Database) -> None:
        for arguments, code in (
            (["audit"], 1),
            (["audit", "--detailed", "--user", "bob", "--format", "json"], 0),
            (["audit", "--quest", "1"], 1),
            (["events", "--limit", "3"], 0),
            (["events", "--user", "bob", "--format", "csv"], 0),
            (["rules"], 0),
            (["explain", "duplicate_participant"], 0),
            (["repairs"], 0),
        ):
            ran = self.ran(dirty, who, *arguments)
            assert (ran.code, "error:" in ran.err) == (code, False), (arguments, ran.err)
        for view in ("violation_summary", "law_status", "approval_timeline", "corrections", "repair_order"):
            dirty.run(who, f"select * from integrity.{view}")

    def test_readers_repair_nothing(self, dirty: Database) -> None:
        before = dirty.run(DBA, "select * from integrity.violations order by key")
        ran = self.ran(dirty, READER, "audit", *FIX)
        assert ran.code == 2
        assert re.search(r"error: this user lacks a permission: .*start_repair; SQLSTATE 42501\)$", ran.err.strip())
        assert dirty.run(DBA, "select * from integrity.violations order by key") == before

    def test_operators_preview_repair_and_undo(self, dirty: Database) -> None:
        before = self.rows(dirty)

        preview = self.ran(dirty, OPERATOR, "audit", "--fix-issues", "--dry-run")
        assert (preview.code, "error:" in preview.err) == (1, False), preview.err
        assert self.rows(dirty) == before

        key = dirty.run(DBA, "select key from integrity.violations where repair is not null order by key limit 1")[0][0]
        explained = self.ran(dirty, OPERATOR, "explain", key)
        assert explained.code == 0, explained.err

        repaired = self.ran(dirty, OPERATOR, "audit", *FIX, "--reason", "ticket 7")
        assert "error:" not in repaired.err, repaired.err
        assert dirty.run(DBA, "select count(*) from integrity.violations where repair is not null") == [(0,)]
        outcomes = dirty.run(DBA, "select distinct outcome from integrity.repair_item")
        assert {outcome for (outcome,) in outcomes} <= {"repaired", "gone"}
        actors = dirty.run(DBA, "select distinct actor from integrity.repair_run")
        assert actors == [(OPERATOR,)]
        assert dirty.run(DBA, "select distinct actor from integrity.event where kind = 'repaired'") == [(OPERATOR,)]

        # The preview took the first number.
        run = dirty.run(DBA, "select max(id)::text from integrity.repair_run")[0][0]
        undone = self.ran(dirty, OPERATOR, "undo", run)
        assert undone.code in {0, 1}, undone.err
        assert "error:" not in undone.err
        assert dirty.run(DBA, "select count(*) > 0 from integrity.event where kind = 'undone'") == [(True,)]
        assert dirty.run(DBA, "select distinct actor from integrity.repair_run where kind = 'undo'") == [(OPERATOR,)]

    def test_operators_repair_one_violation_in_psql(self, dirty: Database) -> None:
        (key,) = dirty.run(
            OPERATOR, "select key from integrity.violations where repair is not null order by key limit 1"
        )[0]
        assert dirty.run(OPERATOR, f"select integrity.repair_violation(%s, 'by hand', {CREATE})", key) == [
            ("repaired",)
        ]
        assert dirty.run(OPERATOR, "select count(*) from integrity.violations where key = %s", key) == [(0,)]

    def test_operators_merge_duplicates_that_other_schemas_refer_to(self, populated: Cluster) -> None:
        made = populated.database("merged")
        made.adopt()
        made.run(DBA, BADGES)
        with made.session(OWNER) as connection, connection.transaction():
            plant.duplicate_participant(connection)
        made.run(OWNER, "insert into rewards.badge (participant_id) select id from quests_questparticipant")
        made.upgrade()
        assert made.owners() == {"integrity_owner"}
        ran = self.ran(made, OPERATOR, "audit", *FIX, "--rule", "duplicate_participant")
        assert "error:" not in ran.err, ran.err
        left = "select count(*), count(distinct participant_id) from rewards.badge"
        assert made.run(DBA, left) == [(2, 1)]

    def test_operators_do_what_the_owner_does(self, populated: Cluster) -> None:
        """The same rows in the end, whoever repairs."""
        ends = []
        for name, who in (("by_operator", OPERATOR), ("by_owner", OWNER)):
            made = dirty(populated, DBA, name)
            self.ran(made, who, "audit", *FIX)
            ends.append(
                sorted(
                    (kind, count)
                    for kind, count in made.run(
                        DBA, "select rule || ' ' || outcome, count(*) from integrity.repair_item group by rule, outcome"
                    )
                )
            )
        assert ends[0] == ends[1] != []

    def test_only_the_tables_owner_validates(self, dirty: Database) -> None:
        """ALTER TABLE and CREATE INDEX are for who owns the table; no grant changes that."""
        self.ran(dirty, OPERATOR, "audit", *FIX)
        ran = self.ran(dirty, OPERATOR, "validate")
        assert ran.code == 2
        assert re.search(
            r"error: this user lacks a permission: connect as the owner of the tables, .*SQLSTATE 42501\)$",
            ran.err.strip(),
        )
        with pytest.raises(errors.InsufficientPrivilege, match="must be owner of table"):
            dirty.run(OPERATOR, "alter table quests_quest validate constraint integrity_status_matches_assignment")
        by_owner = self.ran(dirty, DBA, "validate")
        assert "error:" not in by_owner.err
        # Unknown statuses, which only a person can repair.
        assert [line.split()[0] for line in by_owner.out.splitlines()[1:]] == [
            "integrity_application_status_known",
            "integrity_participant_status_known",
            "integrity_quest_status_known",
        ]

    def rows(self, database: Database) -> list[Any]:
        return [
            database.run(DBA, f"select * from {table} order by id")
            for table in ("applications_application", "quests_questparticipant", "quests_quest")
        ]


class TestHijack:
    """What the app's role plants in the app's schema, in pg_temp or on its search_path is never called."""

    EVIL = """
        create function public.evil() returns void language plpgsql as
        $$begin insert into public.loot values (current_user); end$$;
        create function public.equal(varchar, varchar) returns boolean language plpgsql as
        $$begin perform public.evil(); return $1::text operator(pg_catalog.=) $2::text; end$$;
        create function public.equal(bigint, integer) returns boolean language plpgsql as
        $$begin perform public.evil(); return $1 operator(pg_catalog.=) $2; end$$;
        create function public.equal(text, varchar) returns boolean language plpgsql as
        $$begin perform public.evil(); return $1 operator(pg_catalog.=) $2::text; end$$;
        create operator public.= (leftarg = varchar, rightarg = varchar, function = public.equal);
        create operator public.= (leftarg = bigint, rightarg = integer, function = public.equal);
        create operator public.= (leftarg = text, rightarg = varchar, function = public.equal);
        create function public.now() returns timestamptz language plpgsql as
        $$begin perform public.evil(); return pg_catalog.now(); end$$;
        create function public.current_setting(varchar, boolean) returns text language plpgsql as
        $$begin perform public.evil(); return ''; end$$;
        create function public.jsonb_build_object(varchar, varchar) returns jsonb language plpgsql as
        $$begin perform public.evil(); return '{}'; end$$;
        create function public.format(varchar, varchar) returns text language plpgsql as
        $$begin perform public.evil(); return ''; end$$;
    """

    TEMPORARY = """
        create temporary table quests_quest (id bigint, status varchar, assigned_to_id uuid);
        create temporary table quests_questparticipant (id bigint);
        create temporary table event (kind text);
        set search_path = pg_temp, public, pg_catalog;
    """

    def test_neither_by_the_mechanism_nor_by_a_repair(self, cluster: Cluster) -> None:
        cluster.run(f"alter role {OWNER} createrole")
        made = cluster.database()
        made.adopt()
        made.run(
            DBA,
            f"create table public.loot (who text); grant insert on public.loot to public; "
            f"grant create on schema public to {APP}",
        )
        # Before the layer comes, and so before its views, CHECKs and triggers are made.
        made.run(APP, self.EVIL)
        with made.session(OWNER) as connection, connection.transaction():
            connection.execute("set local search_path = pg_catalog, public")
            planted = plant.approved_without_participant(connection)
            quest_id, user_id = factory.quest(connection), factory.user(connection)
            application_id = factory.application(connection, quest_id, user_id)
        made.upgrade()
        made.admit_app()
        _people(cluster)
        made.run(DBA, "truncate public.loot")

        with made.session(APP) as app:
            app.execute(self.TEMPORARY.encode())
            for statement in (
                "update public.applications_application set status = 'approved' where id operator(pg_catalog.=) %s",
                "update public.applications_application set status = 'kicked' where id operator(pg_catalog.=) %s",
                "delete from public.applications_application where id operator(pg_catalog.=) %s",
            ):
                app.execute(statement.encode(), [application_id])
        with made.session(OPERATOR) as operator:
            operator.execute("set search_path = public, pg_catalog")
            for query in ("select * from integrity.violations", "select * from integrity.approval_timeline"):
                operator.execute(query.encode())
            for key in (f"approved_without_participant:application={planted.application_id}",):
                became = operator.execute(
                    f"select integrity.repair_violation(%s, 'why', {CREATE})".encode(), [key]
                ).fetchall()
                assert became == [("repaired",)]

        assert made.run(DBA, "select distinct who from public.loot") == []

    def test_the_trap_works(self, cluster: Cluster) -> None:
        """Who does not pin a search_path walks into it."""
        made = cluster.database()
        made.adopt()
        made.run(
            DBA,
            f"create table public.loot (who text); grant insert on public.loot to public; "
            f"grant create on schema public to {APP}",
        )
        made.run(APP, self.EVIL)
        with made.session(DBA) as connection:
            factory.quest(connection)
            connection.execute("select count(*) from quests_quest where status = 'open'")
        assert made.run(DBA, "select distinct who from public.loot") == [(DBA,)]
