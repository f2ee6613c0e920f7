"""The first question for grants: does trying every privilege of the object as every role notice?

It is the comparison that tests/roles/test_tried.py makes, for one object and within one transaction.
"""

from typing import Any

import psycopg

from tests.mutants.catalog import Mutant
from tests.roles.tried import expected, may
from tests.support.mutation import SETTINGS

TEST = "tests/roles/test_tried.py::test_each_role_may_do_what_is_listed_and_nothing_else"


def killer(connection: psycopg.Connection[Any], mutant: Mutant) -> str | None:
    """Return the test that notices a mutant of a grant, if it does; the database is as before after that."""
    name = mutant.sql.split(" on ", 1)[1].split(" ", 1)[1].rsplit(" from " if " from " in mutant.sql else " to ", 1)[0]
    wanted = expected(connection, name.replace(", ", ","))
    with connection.transaction(force_rollback=True):
        connection.execute(SETTINGS)
        connection.execute(mutant.sql.encode())
        return TEST if may(connection, wanted) != wanted else None
