"""Audit a database from a program that is connected to it: `checks.audit`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from checks import attachment, migrate
from checks.errors import UserError
from checks.violations import EVERYTHING, Report, Scope, Violation, one_snapshot, read, report

if TYPE_CHECKING:
    import sqlalchemy


class FailedTransactionError(UserError):
    """The caller's transaction has failed, so that nothing can be read in it."""


@dataclass(frozen=True)
class Audit:
    """The outcome of `audit`: the counts and every violation."""

    report: Report
    violations: tuple[Violation, ...]


def audit(
    database: "psycopg.Connection[Any] | sqlalchemy.Engine | sqlalchemy.Connection", scope: Scope = EVERYTHING
) -> Audit:
    """Audit a database that the caller is connected to, inside the caller's transaction if there is one.

    Args:
        database: a psycopg connection, or an SQLAlchemy engine or connection on psycopg 3. Nothing of the caller's is
            committed or rolled back; an idle connection is left idle.
        scope: what to look at.

    Returns:
        The counts by rule and the violations, all of them in memory.

    Raises:
        UserError: the schema is not migrated, or by another version.
        DetachedError: the layer is detached.
        FailedTransactionError: nothing can be read before a rollback.
    """
    if not isinstance(database, psycopg.Connection):
        return _audit_through_sqlalchemy(database, scope)
    status = database.info.transaction_status
    if status == TransactionStatus.INERROR:
        raise FailedTransactionError("the transaction has failed, nothing can be read in it: roll it back first")
    # One snapshot, unless the caller's transaction has its own isolation already.
    with one_snapshot(database) if status == TransactionStatus.IDLE else database.transaction():
        migrate.require_current(database)
        attachment.require_attached(database)
        return Audit(report(database, scope), tuple(read(database, scope)))


def _audit_through_sqlalchemy(database: "sqlalchemy.Engine | sqlalchemy.Connection", scope: Scope) -> Audit:
    import sqlalchemy

    if isinstance(database, sqlalchemy.Engine):
        with database.connect() as connection:
            return audit(connection, scope)
    driver = database.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise UserError(f"the SQLAlchemy connection runs on {type(driver).__module__}; expected psycopg 3")
    return audit(driver, scope)
