"""What the tests of a project that uses the layer leave behind, for pytest and for Django's runner."""

from typing import TYPE_CHECKING, Any

from checks.audit_call import FailedTransactionError, audit

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy


def errors_left(database: "psycopg.Connection[Any] | sqlalchemy.Engine | sqlalchemy.Connection") -> list[str]:
    """Return the violations of severity error that a test leaves, for people; none where its transaction has failed."""
    try:
        found = audit(database).violations
    except FailedTransactionError:
        # All that is left to do with it is to roll it back.
        return []
    return [f"{each.message} [{each.key}]" for each in found if each.severity == "error"]
