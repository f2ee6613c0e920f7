"""The rules: one view per rule, their union, the audit and its summary.

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

# rule, severity, category as in the incident log, meaning, what breaks it
RULES = (
    (
        "approved_without_participant",
        "error",
        "approved applications without participant records",
        "The applicant of an approved application is an active participant of the quest.",
        "An approval whose assign_to_user failed silently (SYNC-001); leaving a quest, removal of a participant by "
        "the owner, or DELETE on the participant endpoint: the participant is removed and the application stays "
        "approved; a PATCH of the participant to dropped; an approval in the admin, by bulk update, COPY or raw SQL.",
    ),
    (
        "participant_without_approval",
        "warning",
        "participants without approved applications",
        "A participant usually has an approved application; joining directly is allowed.",
        "Joining an open quest directly; a submission by slug; bulk_create of participants; resetting an application "
        "to pending, or deleting it, after the participant has completed.",
    ),
    (
        "open_quest_with_participant",
        "error",
        "quest status inconsistencies",
        "A quest with an active participant is not open.",
        "Saving a quest from an instance loaded before the approval, which writes the status open; kicking one of "
        "several participants.",
    ),
    (
        "unassigned_quest_with_participant",
        "error",
        "quest assignment inconsistencies",
        "A quest with an active participant is assigned.",
        "Unassigning; leaving or kicking while another participant is active; saving a quest from a stale instance "
        "whose assigned_to is NULL.",
    ),
    (
        "duplicate_participant",
        "error",
        "duplicate participants",
        "A user has one participant row per quest.",
        "Imports and raw SQL, where the app's unique key on (quest_id, user_id) is missing.",
    ),
    (
        "open_quest_with_approval",
        "error",
        "approved applications but status still open",
        "A quest with an approved application is not open.",
        "The same silent failure as in approved_without_participant: the application was saved and the quest was not.",
    ),
    (
        "assignee_not_participant",
        "error",
        "assignees who do not take part",
        "The assignee of a quest is one of its active participants.",
        "Kicking, which saves the quest from a stale instance and so assigns it to the kicked user again; assigning in "
        "the admin.",
    ),
    (
        "in_progress_without_participant",
        "error",
        "quests in progress without participants",
        "A quest in progress has an active participant.",
        "Setting the status in the admin; dropping the only participant, whose signal clears the assignee but not the "
        "status; bulk updates.",
    ),
    (
        "duplicate_approval",
        "error",
        "duplicate approved applications",
        "A user has at most one approved application per quest.",
        "Approving a second application while the first is still approved, although its participant has left; two "
        "approvals of one user by bulk update.",
    ),
    (
        "duplicate_pending",
        "warning",
        "duplicate pending applications",
        "A user usually has at most one pending application per quest.",
        "Applying twice: the app has no unique key on applications.",
    ),
    (
        "completed_quest_unfinished",
        "warning",
        "completed quests left unfinished",
        "A completed quest has completed_at, and none of its participants is joined or in_progress.",
        "Completing a quest by status and save(), which leaves completed_at NULL, or by queryset.update, which sends "
        "no signals; approving an application to a completed quest.",
    ),
    (
        "unknown_status",
        "error",
        "unknown statuses",
        "Every status is one of the app's values.",
        "Raw SQL, imports and old versions of the app: the app's tables have no CHECK on status.",
    ),
    (
        "quest_with_several_participants",
        "off",
        "quests with several participants",
        "A quest has at most one active participant; allowed unless a project decides otherwise.",
        "Approving a second application; joining a quest that somebody takes part in.",
    ),
)

VIEWS = tuple(f"rules/{name}/view" for name, *_ in RULES)
# Rules added with add_rule(), latest first, since one can read another.
DROP_ADDED_RULES = """
do $$
declare
  added text;
begin
  for added in
    select rule
    from integrity.rule
    where not built_in
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
        # The severity that relax() gives back, while the rule is enforced on request.
        sa.Column("relaxed_severity", sa.Text),
        sa.Column("built_in", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.PrimaryKeyConstraint("rule", name="rule_pkey"),
        sa.CheckConstraint("severity in ('error', 'warning', 'off')", name="rule_severity_known"),
        sa.CheckConstraint("relaxed_severity in ('error', 'warning', 'off')", name="rule_relaxed_severity_known"),
        schema="integrity",
        comment="The rules. Each has a view of the same name in this schema. To add one, call integrity.add_rule().",
    )
    op.bulk_insert(
        rule,
        [
            dict(zip(("rule", "severity", "category", "meaning", "broken_by"), row, strict=True)) | {"built_in": True}
            for row in RULES
        ],
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
