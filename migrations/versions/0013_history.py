"""The history: recorded audits, and the views that compare each with the one before.

Locks: ACCESS EXCLUSIVE on the event log while owner and grants are set, in a transaction of their own, tens of
milliseconds; ACCESS SHARE on the app's tables while empty copies of three of them are made for the manifest,
milliseconds.
"""

import sqlalchemy as sa
from alembic import op

from migrations.sql_objects import execute, install_all, remove_all
from migrations.steps import hand_over

revision = "0013_history"
down_revision = "0012_guards"
branch_labels = None
depends_on = None

OBJECTS = (
    "history/record_audit",
    "history/retain_audits",
    "history/audit_trend",
    "history/audit_change",
    "history/event_metrics",
    "history/metric",
    "audit/named_violation",
    "history/daily_approval",
    "history/diagram_node",
    "history/diagram_edge",
)


def upgrade() -> None:
    """Create the tables, the functions that fill and empty them, and the views."""
    op.create_table(
        "audit_run",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
        sa.Column("duration", sa.Interval),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("damage", sa.ARRAY(sa.Text)),
        sa.PrimaryKeyConstraint("id", name="audit_run_pkey"),
        schema="integrity",
        comment="Recorded audits: when, how long, by whom, and the damage that the guards reported.",
        if_not_exists=True,
    )
    op.create_table(
        "audit_count",
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("violations", sa.BigInteger, nullable=False),
        sa.Column("quests", sa.BigInteger, nullable=False),
        sa.Column("users", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run", "rule", name="audit_count_pkey"),
        sa.ForeignKeyConstraint(["run"], ["integrity.audit_run.id"], name="audit_count_run_fk", ondelete="CASCADE"),
        schema="integrity",
        comment="Violations per rule of each recorded audit, also for rules without violations.",
        if_not_exists=True,
    )
    op.create_table(
        "audit_violation",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("quest_id", sa.BigInteger),
        sa.Column("user_id", sa.Uuid),
        sa.Column("first_run", sa.BigInteger, nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gone_run", sa.BigInteger),
        sa.Column("gone_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name="audit_violation_pkey"),
        schema="integrity",
        comment="Every violation found by a recorded audit: from first_run on, until gone_run did not find it.",
        if_not_exists=True,
    )
    op.create_index(
        "audit_violation_open_key",
        "audit_violation",
        ["key"],
        schema="integrity",
        unique=True,
        postgresql_where=sa.text("gone_run is null"),
        if_not_exists=True,
    )
    for column in ("first_run", "gone_run"):
        op.create_index(
            f"audit_violation_{column}_idx", "audit_violation", [column], schema="integrity", if_not_exists=True
        )
    install_all(OBJECTS)
    # Until its transaction ends no client can write the event log, and the manifest takes longer.
    with op.get_context().autocommit_block():
        hand_over()
    execute("select integrity.record_guards()")


def downgrade() -> None:
    """Drop the history with everything in it, and the entries of the manifest."""
    remove_all(OBJECTS)
    for table in ("audit_violation", "audit_count", "audit_run"):
        op.drop_table(table, schema="integrity")
    execute("delete from integrity.guard")
