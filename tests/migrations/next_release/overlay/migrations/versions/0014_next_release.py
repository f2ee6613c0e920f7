"""An example of a revision after 1.0: replaces a trigger, a function and a view that others read, and adds a rule.

Locks: SHARE ROW EXCLUSIVE on quests_questparticipant for CREATE TRIGGER, ACCESS EXCLUSIVE for the downgrade's DROP
TRIGGER, and ACCESS EXCLUSIVE on the event log, for a second. Each attempt waits at most lock-timeout.
"""

from migrations.changes import add_rule, remove_rule, replace, seal

revision = "0014_next_release"
down_revision = "0013_history"
branch_labels = None
depends_on = None

RULE = "pending_on_completed_quest"


def upgrade() -> None:
    """Install the new versions, and the rule."""
    replace("mechanism/lock_quest", 1, 2)
    replace("mechanism/derived_assignee", 1, 2)
    replace("audit/violation_summary", 1, 2)
    add_rule(
        RULE,
        "warning",
        "pending applications to completed quests",
        "A completed quest has no pending applications.",
        "Completing a quest without an answer to everybody who has applied.",
    )
    seal()


def downgrade() -> None:
    """Install the versions of 0013_history again, and remove the rule."""
    replace("mechanism/lock_quest", 2, 1)
    remove_rule(RULE)
    replace("audit/violation_summary", 2, 1)
    replace("mechanism/derived_assignee", 2, 1)
    seal()
