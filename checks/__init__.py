"""The thin runner: applies the migrations, reads the violation views, repairs and reports.

For programs: `checks.audit(connection)`.
"""

from checks.violations import Audit, audit

__all__ = ["Audit", "audit"]
