"""The proof: one view per rule, their union, the audit of everything and its summary.

Locks: ACCESS SHARE on the app's tables while the views are created, milliseconds.
"""

import sqlalchemy as sa
from alembic import op

from migrations.sql_objects import execute, install_all, remove_all

revision = "0002_rules"
down_revision = "0001_app_tables"
branch_labels = None
depends_on = None

FUNCTIONS = ("audit/assemble_violations", "audit/add_rule")

AUDIT = (
    "audit/suspect_pair",
    "audit/suspect_quest",
    "audit/suspect_duplicate",
    "audit/suspects",
    "audit/audit",
    "audit/violation_summary",
)

# rule, severity, category as the incident log names it, meaning, the flows of the app that break it
RULES = (
    (
        "approved_without_participant",
        "error",
        "approved applications without participant records",
        "An approved application means that its applicant takes part in the quest.",
        "An approval whose assign_to_user failed silently (SYNC-001); leaving a quest, the owner removing a "
        "participant or DELETE on the participant endpoint, which remove the participant and leave the "
        "application approved; a PATCH of the participant to dropped; approving in the admin, by bulk update, "
        "COPY or raw SQL.",
    ),
    (
        "participant_without_approval",
        "warning",
        "participants without approved applications",
        "A participant usually got in through an approved application; joining directly is legitimate.",
        "Joining an open quest directly, a submission by slug, bulk_create of participants; also resetting an "
        "application to pending, or deleting it, after the participant has completed.",
    ),
    (
        "open_quest_with_participant",
        "error",
        "quest status inconsistencies",
        "A quest that somebody takes part in is no longer open.",
        "Saving a quest from an instance loaded before the approval, which writes status open back; kicking "
        "one of several participants.",
    ),
    (
        "unassigned_quest_with_participant",
        "error",
        "quest assignment inconsistencies",
        "A quest that somebody takes part in is assigned to one of its participants.",
        "Unassigning; leaving or kicking when somebody else still takes part; a stale save that writes "
        "assigned_to NULL.",
    ),
    (
        "duplicate_participant",
        "error",
        "duplicate participants",
        "A user takes part in a quest once.",
        "Nothing in the app while its unique key on (quest_id, user_id) is in place; imports and raw SQL "
        "where it is missing.",
    ),
    (
        "open_quest_with_approval",
        "error",
        "approved applications but status still open",
        "A quest with an approved application is no longer open.",
        "The same silent failure as approved_without_participant: the approval was saved and the quest was not.",
    ),
    (
        "assignee_not_participant",
        "error",
        "assignees who do not take part",
        "A quest is assigned to one of its active participants or to nobody.",
        "Kicking, which saves the quest from a stale instance and writes the kicked user back; assigning by "
        "hand in the admin.",
    ),
    (
        "in_progress_without_participant",
        "error",
        "quests in progress without participants",
        "A quest in progress has an active participant.",
        "Setting the status in the admin; dropping the only participant, whose signal clears the assignee but "
        "not the status; bulk updates.",
    ),
    (
        "duplicate_approval",
        "error",
        "duplicate approved applications",
        "A user has one approved application per quest.",
        "Approving a re-application while the old approval outlived its participant; two approvals of one "
        "person by bulk update.",
    ),
    (
        "duplicate_pending",
        "warning",
        "duplicate pending applications",
        "A user usually has one pending application per quest.",
        "Applying twice: the app has no unique key on applications.",
    ),
    (
        "completed_quest_unfinished",
        "warning",
        "completed quests left unfinished",
        "A completed quest has a completion time and no participant still at work.",
        "Completing by a bare save or queryset.update, which sends no signals; approving somebody on a "
        "completed quest.",
    ),
    (
        "unknown_status",
        "error",
        "unknown statuses",
        "Every status is one of the app's values.",
        "Raw SQL, imports and old versions of the app; the columns have no CHECK of their own.",
    ),
)

VIEWS = tuple(f"rules/{name}/view" for name, *_ in RULES)
# Rules that were added with add_rule(), the latest first: one may read another.
DROP_ADDED_RULES = f"""
do $$
declare
  added text;
begin
  for added in
    select rule
    from integrity.rule
    where rule <> all(array[{", ".join(f"'{name}'" for name, *_ in RULES)}])
    order by position desc
  loop
    execute format('drop view if exists integrity.%I', added);
  end loop;
end
$$"""


def upgrade() -> None:
    """Install the rules."""
    rule = op.create_table(
        "rule",
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("meaning", sa.Text, nullable=False),
        sa.Column("broken_by", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("position", sa.Integer, sa.Identity(always=True), nullable=False),
        sa.PrimaryKeyConstraint("rule", name="rule_pkey"),
        sa.CheckConstraint("severity in ('error', 'warning')", name="rule_severity_known"),
        schema="integrity",
        comment="The rules: each has a view of its name in this schema. Add one with integrity.add_rule().",
    )
    op.bulk_insert(
        rule,
        [dict(zip(("rule", "severity", "category", "meaning", "broken_by"), row, strict=True)) for row in RULES],
    )
    install_all(VIEWS)
    install_all(FUNCTIONS)
    execute("select integrity.assemble_violations()")
    install_all(AUDIT)


def downgrade() -> None:
    """Remove the rules."""
    remove_all(AUDIT)
    execute("drop view if exists integrity.violations")
    remove_all(FUNCTIONS)
    execute(DROP_ADDED_RULES)
    remove_all(VIEWS)
    op.drop_table("rule", schema="integrity")
