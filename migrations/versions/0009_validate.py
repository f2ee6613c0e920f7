"""Validates the constraints that the rows allow, and reports those that wait for a repair.

Locks: VALIDATE CONSTRAINT takes SHARE UPDATE EXCLUSIVE, which blocks no reader or writer, for one scan of the table;
DROP TRIGGER of a stand-in trigger takes ACCESS EXCLUSIVE for milliseconds.
"""

import sqlalchemy as sa
from alembic import op

from checks import render
from migrations.options import is_offline
from migrations.sql_objects import source
from migrations.steps import each_alone, enforce

revision = "0009_validate"
down_revision = "0008_approval_key"
branch_labels = None
depends_on = None


STATUSES = ("applications_application", "quests_questparticipant", "quests_quest")

STAND_INS = (
    "law/quest_heal",
    "law/end_outlived_approvals",
)


def upgrade() -> None:
    """Enforce every constraint as far as the rows allow."""
    remaining = enforce()
    if is_offline():
        return
    if remaining:
        names = ", ".join(f"{item.name} ({item.state})" for item in remaining)
        render.say(f"warning: not enforced on old rows yet: {names}")
    errors = op.get_bind().scalar(
        sa.text("select coalesce(sum(violations), 0) from integrity.violation_summary where severity = 'error'")
    )
    if errors or remaining:
        render.say(
            f"warning: {errors} violations of severity error in this database. See them with `quest-integrity audit`, "
            "repair them with `quest-integrity audit --fix-issues`, then run `quest-integrity validate`."
        )


def downgrade() -> None:
    """Create the stand-in triggers again. The constraints stay validated; 0007_law drops them."""
    each_alone([f"select integrity.stand_in_for_statuses('{relation}')" for relation in STATUSES])
    each_alone([source(name, 1) for name in STAND_INS])
