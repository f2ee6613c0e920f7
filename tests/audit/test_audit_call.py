"""checks.audit on connections that callers already have: it reads, and leaves everything as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, namedtuple_row

import checks
from checks import attachment, ddl
from checks.audit_call import FailedTransactionError
from checks.errors import UserError
from checks.violations import Scope
from tests.django_app import database as django_database
from tests.support import factory
from tests.support.database import another, url_of

_Connection = psycopg.Connection[Any]
LOST = {"approved_without_participant", "open_quest_with_approval"}


def rules(audit: checks.Audit) -> set[str]:
    counted = {count.rule for count in audit.report.counts if count.violations}
    assert counted == {violation.rule for violation in audit.violations}
    return counted


@contextmanager
def engine_of(connection: _Connection, **options: Any) -> Iterator[sqlalchemy.Engine]:
    connection.commit()
    url = url_of(connection).replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url, **options)
    yield engine
    engine.dispose()


def users(connection: _Connection) -> Any:
    with another(connection, autocommit=True) as observer:
        return observer.execute("select count(*) from users_user").fetchone()


class TestPsycopg:
    @pytest.mark.parametrize("autocommit", [False, True])
    def test_idle_stays_idle(self, sync_001: _Connection, autocommit: bool) -> None:
        with another(sync_001, autocommit=autocommit) as connection:
            assert rules(checks.audit(connection)) == LOST
            assert connection.info.transaction_status == TransactionStatus.IDLE
            assert connection.autocommit is autocommit
            # Nothing of how it read is left behind.
            connection.execute("create table mine ()")

    def test_in_a_transaction_sees_and_keeps_what_is_not_committed(self, sync_001: _Connection) -> None:
        before = users(sync_001)
        sync_001.execute("delete from applications_application where quest_id = 5")
        factory.user(sync_001)
        assert rules(checks.audit(sync_001)) == set()
        assert sync_001.info.transaction_status == TransactionStatus.INTRANS
        assert users(sync_001) == before
        sync_001.rollback()
        assert rules(checks.audit(sync_001)) == LOST

    def test_in_a_transaction_of_any_kind(self, sync_001: _Connection) -> None:
        for level in psycopg.IsolationLevel:
            sync_001.rollback()
            sync_001.isolation_level = level
            sync_001.read_only = True
            sync_001.execute("select")
            assert rules(checks.audit(sync_001)) == LOST

    def test_in_a_failed_transaction(self, sync_001: _Connection) -> None:
        with pytest.raises(psycopg.errors.SyntaxError):
            sync_001.execute("selekt")
        with pytest.raises(FailedTransactionError, match="roll it back"):
            checks.audit(sync_001)
        assert sync_001.info.transaction_status == TransactionStatus.INERROR
        sync_001.rollback()
        assert rules(checks.audit(sync_001)) == LOST

    @pytest.mark.parametrize("factory", [dict_row, namedtuple_row], ids=["dict", "namedtuple"])
    def test_whatever_its_rows_are(self, sync_001: _Connection, factory: Any) -> None:
        sync_001.row_factory = factory
        found = checks.audit(sync_001)
        assert rules(found) == LOST
        assert found.violations[0].expected == {"participant_status": "joined"}
        assert sync_001.row_factory is factory

    def test_whatever_its_search_path_is(self, sync_001: _Connection) -> None:
        sync_001.execute("create schema elsewhere")
        sync_001.execute("create table elsewhere.users_user ()")
        sync_001.execute("set search_path = elsewhere")
        assert rules(checks.audit(sync_001)) == LOST
        assert sync_001.execute("show search_path").fetchone() == ("elsewhere",)

    def test_in_scope(self, audit_001: _Connection) -> None:
        (student,) = audit_001.execute("select id from users_user where username = 'student2'").fetchone() or (None,)
        assert len(checks.audit(audit_001, Scope(user=student)).violations) == 3
        only = Scope(rules=["unassigned_quest_with_participant"])
        assert {count.rule: count.violations for count in checks.audit(audit_001, only).report.counts} == {
            "unassigned_quest_with_participant": 2
        }

    def test_not_migrated(self, app_only: _Connection) -> None:
        with pytest.raises(UserError, match="not migrated"):
            checks.audit(app_only)
        assert app_only.info.transaction_status == TransactionStatus.IDLE

    def test_detached(self, migrated: _Connection) -> None:
        with another(migrated, autocommit=True) as owner:
            attachment.detach(owner, ddl.LockPolicy())
        with pytest.raises(attachment.DetachedError, match=r"the layer is detached since .* `quest-integrity attach`"):
            checks.audit(migrated)
        assert migrated.info.transaction_status == TransactionStatus.IDLE

    def test_counts_and_violations_agree_while_others_write(
        self, sync_001: _Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sync_001.commit()
        report = checks.violations.report

        def meanwhile(*arguments: Any) -> Any:
            found = report(*arguments)
            with another(sync_001) as writer:
                writer.execute("delete from applications_application where quest_id = 5")
                writer.commit()
            return found

        monkeypatch.setattr(checks.violations, "report", meanwhile)
        assert rules(checks.audit(sync_001)) == LOST


class TestSqlalchemy:
    def test_engine(self, sync_001: _Connection) -> None:
        with engine_of(sync_001) as engine:
            assert rules(checks.audit(engine)) == LOST
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    def test_autocommit_engine(self, sync_001: _Connection) -> None:
        with engine_of(sync_001, isolation_level="AUTOCOMMIT") as engine:
            assert rules(checks.audit(engine)) == LOST

    def test_connection_that_has_done_nothing(self, sync_001: _Connection) -> None:
        with engine_of(sync_001) as engine, engine.connect() as connection:
            assert rules(checks.audit(connection)) == LOST
            assert not connection.in_transaction()

    def test_connection_in_a_transaction(self, sync_001: _Connection) -> None:
        with engine_of(sync_001) as engine, engine.connect() as connection:
            connection.execute(sqlalchemy.text("delete from applications_application where quest_id = 5"))
            assert rules(checks.audit(connection)) == set()
            assert connection.in_transaction()
            connection.rollback()
            assert rules(checks.audit(connection)) == LOST

    def test_another_driver(self) -> None:
        with (
            sqlalchemy.create_engine("sqlite://").connect() as connection,
            pytest.raises(UserError, match="expected psycopg 3"),
        ):
            checks.audit(connection)


def test_django_s_connection(sync_001: _Connection) -> None:
    """Django's connection leaves jsonb as text; what a violation expects is a mapping all the same."""
    sync_001.commit()
    with django_database.use(url_of(sync_001)):
        from django.db import connection, transaction

        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("delete from quests_questparticipant where quest_id = 17")
            found = checks.audit(connection.connection)
            transaction.set_rollback(True)
    assert rules(found) == LOST
    assert found.violations[0].expected == {"participant_status": "joined"}
