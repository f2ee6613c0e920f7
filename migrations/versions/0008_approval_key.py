"""The unique key that allows one approved application per quest and applicant.

Added after the mechanism: without it a user who leaves keeps an approved application, and the key would refuse the next
approval of that user.

Locks: as in 0006_keys; then DROP TRIGGER of the stand-in trigger takes ACCESS EXCLUSIVE for milliseconds.
"""

from migrations.sql_objects import source
from migrations.steps import drop_key, each_alone, enforce, forget_law, record_law

revision = "0008_approval_key"
down_revision = "0007_law"
branch_labels = None
depends_on = None

KEY = {
    "name": "integrity_approved_application_key",
    "relation": "applications_application",
    "kind": "unique",
    "columns": "quest_id, applicant_id, integrity_approved",
    "waits": True,
    # Installed by 0007_law.
    "stand_in": "integrity_refuse_second_approval",
    "rules": ["duplicate_approval"],
}


def upgrade() -> None:
    """Build the key unless there are duplicates."""
    record_law([KEY])
    enforce([str(KEY["name"])])


def downgrade() -> None:
    """Create the stand-in trigger again and drop the key."""
    each_alone([source("law/refuse_second_approval", 1)])
    drop_key(KEY)
    forget_law([str(KEY["name"])])
