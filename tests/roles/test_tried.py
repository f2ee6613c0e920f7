"""Every privilege tried as the role it is for, not asked of the catalog."""

from typing import Any

import psycopg

from tests.roles.tried import expected, may


def test_each_role_may_do_what_is_listed_and_nothing_else(migrated: psycopg.Connection[Any]) -> None:
    rights = expected(migrated)
    assert len(rights) > 1000
    found = may(migrated, rights)
    assert [right for right in rights if found[right] != rights[right]] == []
