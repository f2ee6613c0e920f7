"""Who migrates: the owner of the app's tables, with and without the right to create roles, or a superuser."""

from typing import Any

import pytest
from psycopg import errors

from tests.roles.cluster import APP, BADGES, BEFORE_ROLES, DBA, OWNER, ROLES, Cluster, Database
from tests.support import factory
from tests.support.catalog import rewritten, written_grants
from tests.support.cli import finish, spawn
from tests.support.programs import dump_schema

HEADER = "roles of the layer, left to a DBA (docs/roles.md):"


def left_to_dba(said: str) -> list[str]:
    """Return the lines that a migration prints for a DBA."""
    _, found, rest = said.partition(f"{HEADER}\n")
    return [line for line in rest.splitlines() if line.endswith(";") or line.startswith("--")] if found else []


def approval_works(database: Database, user: str) -> None:
    """Approve, kick and leave as that role; the mechanism has to do its part."""
    with database.session(user) as session:
        quest_id, user_id = factory.quest(session), factory.user(session)
        application_id = factory.application(session, quest_id, user_id)
        session.execute("update applications_application set status = 'approved' where id = %s", [application_id])
        state = (
            "select quest.status, quest.assigned_to_id, participant.status from quests_quest as quest "
            "left join quests_questparticipant as participant on participant.quest_id = quest.id where quest.id = %s"
        )
        assert session.execute(state, [quest_id]).fetchall() == [("in-progress", user_id, "joined")]
        session.execute("update quests_quest set status = 'open' where id = %s", [quest_id])
        session.execute("delete from quests_questparticipant where quest_id = %s", [quest_id])
        assert session.execute(state, [quest_id]).fetchall() == [("open", None, None)]
    kinds = database.run(DBA, "select kind from integrity.event where quest_id = %s order by id", quest_id)
    assert sorted(kind for (kind,) in kinds) == [
        "application_approved",
        "application_ended",
        "participant_dropped",
        "quest_write_corrected",
    ]
    assert database.run(DBA, "select count(*) from integrity.violations where severity = 'error'") == [(0,)]


class TestTheTablesOwner:
    def test_who_may_create_roles_leaves_nothing_to_a_dba(
        self, database: Database, cluster: Cluster, capfd: pytest.CaptureFixture[str]
    ) -> None:
        cluster.run(f"alter role {OWNER} createrole")
        database.upgrade()
        assert left_to_dba(capfd.readouterr().err) == []
        assert cluster.roles() == set(ROLES)
        assert database.owners() == {"integrity_owner"}
        assert database.run(OWNER, "select * from integrity.grant_roles()") == []

    def test_who_may_not_says_what_a_dba_has_to_run(
        self, database: Database, cluster: Cluster, capfd: pytest.CaptureFixture[str]
    ) -> None:
        database.upgrade()
        said = left_to_dba(capfd.readouterr().err)
        assert said == [
            "create role integrity_reader nologin;",
            "create role integrity_operator nologin;",
            "create role integrity_owner nologin;",
            f"grant integrity_owner to {OWNER};",
            "select * from integrity.grant_roles();",
            f"-- {OWNER} owns the layer, not integrity_owner: there is no role integrity_owner",
        ]
        assert cluster.roles() == set()
        assert database.owners() == {OWNER}

        # Word for word what it said, as a superuser in that database.
        database.run(DBA, "\n".join(said))

        assert cluster.roles() == set(ROLES)
        assert database.owners() == {"integrity_owner"}
        assert database.run(OWNER, "select * from integrity.grant_roles()") == []

    def test_the_app_works_and_needs_nothing_new(self, creates_roles: bool, begun: Database) -> None:
        begun.upgrade()
        begun.admit_app()
        assert begun.owners() == {"integrity_owner" if creates_roles else OWNER}
        approval_works(begun, APP)
        approval_works(begun, OWNER)

    def test_goes_down_and_up_again(self, creates_roles: bool, begun: Database, cluster: Cluster) -> None:
        begun.upgrade()
        begun.downgrade()
        assert cluster.roles() == set()
        assert begun.run(DBA, "select to_regnamespace('integrity')") == [(None,)]
        assert begun.run(DBA, "select count(*) from pg_default_acl") == [(0,)]
        begun.upgrade()
        begun.downgrade(revision=BEFORE_ROLES)
        assert begun.owners() == {OWNER}
        begun.upgrade()
        begun.admit_app()
        approval_works(begun, APP)

    def test_goes_on_after_a_dba_granted_the_roles(self, plain: Database, cluster: Cluster) -> None:
        for role in ROLES:
            cluster.run(f"create role {role} nologin")
        assert plain.run(DBA, "select * from integrity.grant_roles()") == []
        assert plain.owners() == {"integrity_owner"}
        plain.admit_app()
        approval_works(plain, APP)
        plain.downgrade(revision=BEFORE_ROLES)
        plain.upgrade()
        assert plain.owners() == {"integrity_owner"}
        plain.downgrade()

    def test_with_roles_that_a_dba_made_before(
        self, begun: Database, cluster: Cluster, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for role in ROLES:
            cluster.run(f"create role {role} nologin")
        cluster.run(f"grant integrity_owner to {OWNER}")
        begun.upgrade()
        assert left_to_dba(capfd.readouterr().err) == []
        assert begun.owners() == {"integrity_owner"}

    def test_with_roles_but_no_member_of_the_owner(
        self, begun: Database, cluster: Cluster, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for role in ROLES:
            cluster.run(f"create role {role} nologin")
        begun.upgrade()
        said = left_to_dba(capfd.readouterr().err)
        assert said == [
            f"grant integrity_owner to {OWNER};",
            "select * from integrity.grant_roles();",
            f"-- {OWNER} owns the layer, not integrity_owner: {OWNER} is no member of integrity_owner",
        ]
        assert begun.owners() == {OWNER}
        # What needs no owner is granted all the same.
        assert begun.run(DBA, "select has_table_privilege('integrity_reader', 'integrity.event', 'select')") == [
            (True,)
        ]

    def test_of_a_database_that_is_not_theirs(self, creates_roles: bool, cluster: Cluster) -> None:
        """A DBA has made the schemas; the owner of the tables may create nothing else in the database."""
        made = cluster.database(owner=DBA)
        made.adopt()
        made.run(DBA, f"create schema integrity authorization {OWNER}")
        made.upgrade()
        made.admit_app()
        approval_works(made, APP)
        assert made.owners() == ({OWNER, "integrity_owner"} if creates_roles else {OWNER})
        made.downgrade()
        assert cluster.roles() == set()

    def test_in_a_schema_of_any_name(self, creates_roles: bool, cluster: Cluster) -> None:
        made = cluster.database(schema="Peer Quest")
        made.adopt()
        made.upgrade()
        made.admit_app()
        assert made.owners() == {"integrity_owner" if creates_roles else OWNER}
        approval_works(made, APP)
        made.downgrade()

    def test_waits_for_who_reads_the_layer(self, begun: Database, cluster: Cluster) -> None:
        """And lets go between attempts, as with the app's tables."""
        cluster.run(f"alter role {OWNER} createrole")
        with begun.session(DBA) as reader:
            with reader.transaction():
                reader.execute("select * from integrity.rule")
                upgrade = spawn(begun.url(OWNER), "upgrade", "-x", "lock-timeout=100ms")
                assert upgrade.stderr is not None
                said = ""
                while "trying again" not in said:
                    line = upgrade.stderr.readline()
                    assert line, f"it did not wait: {said}"
                    said += line
            ran = finish(upgrade)
        assert (ran.code, begun.owners()) == (0, {"integrity_owner"}), ran.err

    def test_a_schema_that_only_a_dba_can_open(self, cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
        """The tables' owner may use the app's schema and not pass that on: then integrity_owner is of no use."""
        cluster.run(f"alter role {OWNER} createrole")
        made = cluster.database(schema="closed", owner=DBA)
        made.adopt()
        made.run(DBA, f"create schema integrity authorization {OWNER}")
        made.upgrade()
        said = left_to_dba(capfd.readouterr().err)
        assert said == [
            *(f"grant usage on schema closed to {role};" for role in sorted(ROLES)),
            "select * from integrity.grant_roles();",
            f"-- {OWNER} owns the layer, not integrity_owner: integrity_owner may not use the schema closed",
        ]
        made.run(DBA, "\n".join(said))
        assert made.owners() == {"integrity_owner"}


class TestASuperuser:
    def test_hands_the_layer_over(
        self, database: Database, cluster: Cluster, capfd: pytest.CaptureFixture[str]
    ) -> None:
        database.upgrade(DBA)
        assert left_to_dba(capfd.readouterr().err) == []
        assert database.owners() == {"integrity_owner"}
        database.run(DBA, f"grant usage on schema public to {APP}")
        database.run(DBA, f"grant select, insert, update, delete on all tables in schema public to {APP}")
        approval_works(database, APP)
        database.downgrade(DBA)
        assert cluster.roles() == set()


class TestTheCluster:
    def test_a_role_stays_while_another_database_needs_it(
        self, cluster: Cluster, capfd: pytest.CaptureFixture[str]
    ) -> None:
        cluster.run(f"alter role {OWNER} createrole")
        first, second = (cluster.begun(adopted=True, name=name) for name in ("first", "second"))
        for each in (first, second):
            each.upgrade()
            each.admit_app()
        capfd.readouterr()

        first.downgrade()

        said = left_to_dba(capfd.readouterr().err)
        assert said == [f"-- the role {role} stays: second depends on it" for role in sorted(ROLES)]
        assert cluster.roles() == set(ROLES)
        assert second.owners() == {"integrity_owner"}
        approval_works(second, APP)

        second.downgrade()
        assert cluster.roles() == set()

    def test_a_role_that_somebody_was_given_stays(self, cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
        cluster.run(f"alter role {OWNER} createrole")
        made = cluster.begun(adopted=False)
        made.upgrade()
        cluster.run("create role grafana login")
        cluster.run("grant integrity_reader to grafana")
        capfd.readouterr()
        made.downgrade()
        assert left_to_dba(capfd.readouterr().err) == ["-- the role integrity_reader stays: it was granted to grafana"]
        assert cluster.roles() == {"integrity_reader"}

    def test_a_role_that_others_made_is_left_to_them(self, cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
        made = cluster.begun(adopted=False)
        for role in ROLES:
            cluster.run(f"create role {role} nologin")
        cluster.run(f"grant integrity_owner to {OWNER}")
        made.upgrade()
        capfd.readouterr()
        made.downgrade()
        assert sorted(left_to_dba(capfd.readouterr().err)) == sorted(f"drop role {role};" for role in ROLES)
        assert cluster.roles() == set(ROLES)

    def test_two_databases_migrated_at_once(self, cluster: Cluster) -> None:
        cluster.run(f"alter role {OWNER} createrole")
        both = [cluster.begun(adopted=False, name=name) for name in ("first", "second")]
        ran = [finish(process) for process in [spawn(each.url(OWNER), "upgrade") for each in both]]
        assert [(each.code, left_to_dba(each.err)) for each in ran] == [(0, [])] * 2
        assert [each.owners() for each in both] == [{"integrity_owner"}] * 2


class TestWhatKeepsTheOwnerOut:
    """Where integrity_owner would break the app or not see all rows, the owner of the tables does its work."""

    AUDIT = """
        create table app_audit (participant_id bigint);
        create function app_note() returns trigger language plpgsql as
        'begin insert into public.app_audit values (new.id); return null; end';
        create trigger app_note after insert on quests_questparticipant for each row execute function app_note();
    """

    @pytest.fixture
    def adopted(self, cluster: Cluster) -> Database:
        cluster.run(f"alter role {OWNER} createrole")
        made = cluster.database()
        made.adopt()
        return made

    @pytest.fixture
    def begun(self, cluster: Cluster) -> Database:
        cluster.run(f"alter role {OWNER} createrole")
        return cluster.begun(adopted=True)

    def obstacles(self, database: Database) -> list[str]:
        return [obstacle for (obstacle,) in database.run(OWNER, "select * from integrity.owner_obstacle")]

    def test_a_trigger_of_the_apps_own(self, adopted: Database, capfd: pytest.CaptureFixture[str]) -> None:
        adopted.run(OWNER, self.AUDIT)
        adopted.upgrade()
        adopted.admit_app()
        obstacle = "trigger app_note on quests_questparticipant needs rights of its own"
        assert self.obstacles(adopted) == [obstacle]
        assert left_to_dba(capfd.readouterr().err) == [f"-- {OWNER} owns the layer, not integrity_owner: {obstacle}"]
        assert adopted.owners() == {OWNER}
        approval_works(adopted, APP)
        assert adopted.run(OWNER, "select count(*) from app_audit") == [(1,)]

    def test_a_trigger_that_came_later_and_went(self, begun: Database) -> None:
        begun.upgrade()
        begun.run(OWNER, self.AUDIT)
        begun.admit_app()
        # It fails closed, and says on what.
        with pytest.raises(errors.InsufficientPrivilege, match="app_audit"):
            approval_works(begun, APP)
        begun.run(OWNER, "select * from integrity.grant_roles()")
        assert begun.owners() == {OWNER}
        approval_works(begun, APP)
        begun.run(OWNER, "drop trigger app_note on quests_questparticipant")
        begun.run(OWNER, "select * from integrity.grant_roles()")
        assert begun.owners() == {"integrity_owner"}

    def test_a_trigger_with_its_owners_rights_is_none(self, adopted: Database) -> None:
        adopted.run(OWNER, self.AUDIT)
        adopted.run(OWNER, "alter function app_note() security definer")
        adopted.upgrade()
        adopted.admit_app()
        assert adopted.owners() == {"integrity_owner"}
        approval_works(adopted, APP)

    def test_row_level_security(self, adopted: Database) -> None:
        adopted.run(OWNER, "alter table applications_application enable row level security")
        adopted.run(OWNER, f"create policy mine on applications_application to {APP} using (true)")
        adopted.upgrade()
        adopted.admit_app()
        assert self.obstacles(adopted) == [
            "row-level security on applications_application would hide rows from integrity_owner"
        ]
        assert adopted.owners() == {OWNER}
        approval_works(adopted, APP)

    def test_row_level_security_does_not_stop_a_role_that_may_pass(self, begun: Database, cluster: Cluster) -> None:
        begun.upgrade()
        begun.run(OWNER, "alter table applications_application enable row level security")
        begun.run(OWNER, f"create policy mine on applications_application to {APP} using (true)")
        cluster.run("alter role integrity_owner bypassrls")
        assert self.obstacles(begun) == []
        begun.admit_app()
        approval_works(begun, APP)

    @pytest.mark.parametrize("attribute", ["login", "superuser"])
    def test_an_owner_that_is_more_than_that(self, attribute: str, cluster: Cluster) -> None:
        made = cluster.begun(adopted=False)
        for role in ROLES:
            cluster.run(f"create role {role} nologin")
        cluster.run(f"alter role integrity_owner {attribute}")
        if attribute == "login":
            cluster.run(f"grant integrity_owner to {OWNER}")
        made.upgrade()
        assert "integrity_owner can log in or is a superuser" in self.obstacles(made)
        assert made.owners() == {OWNER}

    def test_serial_ids_of_older_versions_of_django(self, adopted: Database) -> None:
        for table in ("quests_questparticipant", "applications_application", "quests_quest"):
            adopted.run(
                OWNER,
                f"alter table {table} alter id drop identity; create sequence {table}_id_seq owned by {table}.id; "
                f"alter table {table} alter id set default nextval('{table}_id_seq')",
            )
        adopted.upgrade()
        adopted.admit_app()
        assert adopted.owners() == {"integrity_owner"}
        approval_works(adopted, APP)


class TestNoTrace:
    """After a downgrade to base the database is what it was: for pg_dump, and in every list of rights."""

    SHARED_SEQUENCE = """
        create sequence any_id;
        alter table quests_questparticipant alter id drop identity;
        alter table quests_questparticipant alter id set default nextval('any_id');
    """
    GRANTS = f"""
        grant select on quests_quest to public;
        grant select (title) on quests_quest to {APP};
        grant all on users_user to {APP} with grant option;
    """

    @pytest.mark.parametrize("schema", ["public", "Peer Quest"])
    @pytest.mark.parametrize("migrator", [OWNER, DBA])
    def test_is_left(self, schema: str, migrator: str, creates_roles: bool, cluster: Cluster) -> None:
        made = cluster.database(schema=schema)
        made.adopt()
        if schema == "public":
            made.run(DBA, BADGES)
        made.run(OWNER, self.GRANTS + self.SHARED_SEQUENCE)
        made.admit_app()
        with made.session(DBA) as looker:
            before, grants = dump_schema(looker), written_grants(looker)
            made.upgrade(migrator)
            approval_works(made, APP)
            assert rewritten(grants, written_grants(looker))
            made.downgrade(migrator)
            assert dump_schema(looker) == before
            assert rewritten(grants, written_grants(looker)) == {}
        assert cluster.roles() == set()

    def test_is_left_on_a_table_that_refers_no_more(self, cluster: Cluster) -> None:
        cluster.run(f"alter role {OWNER} createrole")
        made = cluster.begun(adopted=True)
        made.run(DBA, BADGES)
        made.upgrade()
        may = "select has_table_privilege('integrity_owner', 'rewards.badge', 'select')"
        assert made.run(DBA, may) == [(True,)]
        made.run(DBA, "alter table rewards.badge drop constraint badge_participant_id_fkey")
        made.downgrade()
        assert cluster.roles() == set()

    def test_is_left_but_what_only_a_dba_may_take_back(
        self, cluster: Cluster, capfd: pytest.CaptureFixture[str]
    ) -> None:
        cluster.run(f"alter role {OWNER} createrole")
        made = cluster.database(schema="closed", owner=DBA)
        made.adopt()
        made.run(DBA, f"create schema integrity authorization {OWNER}")
        made.upgrade()
        made.run(DBA, "\n".join(left_to_dba(capfd.readouterr().err)))
        made.downgrade()
        said = left_to_dba(capfd.readouterr().err)
        assert said == [
            "revoke all on schema closed from integrity_owner;",
            *(f"revoke usage on schema closed from {role};" for role in sorted(ROLES)),
            *(f"-- the role {role} stays: {made.name} depends on it" for role in sorted(ROLES)),
        ]
        made.run(DBA, "\n".join(said))
        cluster.run(f"drop role {', '.join(ROLES)}")

    def test_is_left_of_a_right_that_somebody_else_gave(self, cluster: Cluster) -> None:
        """Ours go; what a DBA gave a role for another purpose stays, and the role with it."""
        cluster.run(f"alter role {OWNER} createrole")
        made = cluster.begun(adopted=True)
        made.upgrade()
        made.run(OWNER, "create table report (id bigint); grant select on report to integrity_reader")
        made.downgrade()
        assert cluster.roles() == {"integrity_reader"}
        held = made.run(DBA, "select has_table_privilege('integrity_reader', 'report', 'select')")
        assert held == [(True,)]
        assert made.run(DBA, "select has_column_privilege('integrity_reader', 'quests_quest', 'id', 'select')") == [
            (False,)
        ]


def test_the_django_app_writes_as_a_role_of_its_own(creates_roles: bool, cluster: Cluster) -> None:
    """The app's own code, as a role that owns nothing, on tables that another role owns and migrates."""
    from tests.django_app import database as django
    from tests.django_app.flows import FLOWS, World

    made = cluster.database()
    django.create_app_tables(made.url(OWNER))
    made.upgrade()
    made.admit_app()
    with django.use(made.url(APP)):
        for flow in FLOWS:
            world = World()
            if flow.refused_by is None:
                flow.run(world)
                assert world.state() == flow.expected, flow.name
    assert made.run(DBA, "select count(*) from integrity.violations where severity = 'error'") == [(0,)]
    actors: list[tuple[Any, ...]] = made.run(DBA, "select distinct actor from integrity.event")
    assert actors == [(APP,)]


def test_the_django_app_on_tables_that_the_migrations_created(creates_roles: bool, cluster: Cluster) -> None:
    from tests.django_app import database as django
    from tests.django_app.flows import World

    made = cluster.begun(adopted=False)
    made.upgrade()
    django.create_missing_tables(made.url(OWNER))
    made.admit_app()
    with django.use(made.url(APP)):
        world = World()
        world.admit("ann")
        world.kick("ann")
        world.leave("ann")
    assert made.run(DBA, "select count(*) from integrity.violations where severity = 'error'") == [(0,)]
