"""The thin runner: applies the migrations, reads the violation views, repairs and reports.

For programs: `checks.audit(connection)`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checks.audit_call import Audit, audit

__all__ = ["Audit", "audit"]


def __getattr__(name: str) -> Any:
    # Imported when used: the pytest plugin is loaded by every pytest, and this package with it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from checks import audit_call

    return getattr(audit_call, name)
