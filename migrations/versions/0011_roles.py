"""The roles: who may read, who may repair and who owns the layer, as far as the migrating role may set it.

Locks: ACCESS EXCLUSIVE on the layer's tables for milliseconds, when their owner changes; none on an app table.
"""

from migrations.sql_objects import install_all, remove_all
from migrations.steps import hand_over, take_back

revision = "0011_roles"
down_revision = "0010_repair"
branch_labels = None
depends_on = None

OBJECTS = (
    "roles/operate",
    "roles/operate_rows",
    "roles/role_grant",
    "roles/role_revoke",
    "roles/owner_obstacle",
    "roles/alter_owners",
    "roles/create_roles",
    "roles/apply_role_grants",
    "roles/grant_roles",
    "roles/revoke_roles",
)


def upgrade() -> None:
    """Create the roles and grant their rights; print what a DBA has to run instead."""
    install_all(OBJECTS)
    hand_over(revision)


def downgrade() -> None:
    """Revoke everything and drop the roles that nothing else needs."""
    take_back()
    remove_all(OBJECTS)
