"""The guards know the roles: what they are given is expected, anything else is not."""

import pytest

from checks import guards
from checks.ddl import LockPolicy
from tests.roles.cluster import DBA, OWNER, ROLES, Cluster, Database


def statuses(database: Database, user: str = DBA) -> dict[str, str]:
    with database.session(user) as session:
        found = guards.read(session)
        assert found
        return {f"{guard.kind} {guard.identity}": guard.status for guard in found if guard.status != "ok"}


def mend(database: Database, user: str = DBA) -> None:
    with database.session(user) as session:
        guards.mend(session, LockPolicy())


@pytest.mark.parametrize("user", [DBA, OWNER])
def test_all_is_well_whoever_migrated(creates_roles: bool, begun: Database, user: str) -> None:
    begun.upgrade()
    assert statuses(begun, user) == {}


def test_all_is_well_after_a_dba_did_the_rest(plain: Database, cluster: Cluster) -> None:
    for role in ROLES:
        cluster.run(f"create role {role} nologin")
    # Roles that exist are no damage where nobody has given them anything.
    assert statuses(plain) == {}
    plain.run(DBA, "grant select on integrity.event to integrity_reader with grant option")
    plain.run(DBA, "grant delete on public.users_user to integrity_owner")
    assert plain.run(DBA, "select * from integrity.grant_roles()") == []
    assert statuses(plain) == {
        "table integrity.event": "wrong owner",
        "rights table public.users_user": "unexpected object",
    }


def test_rights_of_the_roles(database: Database) -> None:
    database.upgrade(DBA)
    assert statuses(database) == {}
    for statement in (
        "revoke insert on public.quests_questparticipant from integrity_owner",
        "revoke update (status) on public.quests_quest from integrity_owner",
        "revoke all on public.users_user from integrity_owner, integrity_reader, integrity_operator",
        "grant truncate on public.applications_application to integrity_owner",
        "revoke select on integrity.violations from integrity_reader",
        "grant update on integrity.event to integrity_operator",
        "alter table integrity.law owner to postgres",
    ):
        database.run(DBA, statement)
    assert statuses(database) == {
        "rights table public.quests_questparticipant": "wrong grants",
        "rights table public.quests_quest": "wrong grants",
        "rights table public.users_user": "missing",
        "rights table public.applications_application": "wrong grants",
        "view integrity.violations": "wrong grants",
        "table integrity.event": "wrong grants",
        "table integrity.law": "wrong owner",
        "sequence integrity.law_position_seq": "wrong owner",
    }
    mend(database)
    assert statuses(database) == {}


def test_what_the_roles_may_be(database: Database, cluster: Cluster) -> None:
    database.upgrade(DBA)
    cluster.run("alter role integrity_owner login createrole")
    cluster.run("alter role integrity_reader superuser login")
    assert statuses(database) == {"role integrity_owner": "bypass", "role integrity_reader": "bypass"}
    mend(database)
    assert statuses(database) == {}
    # Whom a DBA lets in as a reader is the DBA's business.
    cluster.run("alter role integrity_reader login")
    assert statuses(database) == {}


def test_readers_and_operators_see_the_guards(database: Database, cluster: Cluster) -> None:
    database.upgrade(DBA)
    database.run(DBA, "alter table public.quests_quest disable trigger integrity_mark")
    for role in ("integrity_reader", "integrity_operator"):
        cluster.run(f"create role someone login in role {role}")
        assert statuses(database, "someone") == {"trigger integrity_mark on public.quests_quest": "disabled"}
        cluster.run("drop role someone")


def test_the_tables_owner_mends_without_being_a_superuser(creates_roles: bool, begun: Database) -> None:
    begun.upgrade()
    for statement in (
        "alter table public.quests_quest disable trigger all",
        "alter table public.applications_application drop constraint integrity_approved_application_has_participant",
        "drop view integrity.violation_summary cascade",
        "drop function integrity.settle_guards()",
        "alter function integrity.lock_quest() reset all",
        "grant select on integrity.event to public",
        "alter table integrity.event disable trigger all",
    ):
        begun.run(DBA, statement)
    assert len(statuses(begun)) > 10
    mend(begun, OWNER)
    assert statuses(begun) == {}
    assert len(begun.owners()) == 1
