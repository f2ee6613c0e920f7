"""The event log: append-only, partitioned by month.

Locks: none on an app table.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.sql_objects import execute, install_all, remove_all
from migrations.steps import distribute_by_quest
from migrations.tables import XID8

revision = "0003_events"
down_revision = "0002_rules"
branch_labels = None
depends_on = None

FUNCTIONS = (
    "events/refuse_event_change",
    "events/protect_event_partition",
    "events/prepare_event_partitions",
    "events/log_event",
    "events/log_events",
    "events/retain_events",
)
VIEWS = (
    "events/event_kind",
    "events/events",
    "events/corrections",
    "events/approval_timeline",
)

KINDS = (
    "application_approved",
    "application_ended",
    "participant_joined",
    "participant_dropped",
    "quest_write_corrected",
    "mechanism_off",
    "repaired",
    "undone",
    "events_dropped",
    "statuses_changed",
    "rule_enforced",
    "rule_relaxed",
    "detached",
    "attached",
)

MEANING = (
    "Append-only log of what triggers, repairs and retention did, written in the same transaction. Kinds, "
    "explained by integrity.event_kind: " + ", ".join(KINDS) + "."
)


def upgrade() -> None:
    """Create the event log, with partitions for this month and the next twelve."""
    op.create_table(
        "event",
        # Orders the events of one transaction, which have the same at and transaction.
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("transaction", XID8, nullable=False, server_default=sa.text("pg_current_xact_id()")),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("quest_id", sa.BigInteger),
        sa.Column("user_id", sa.Uuid),
        sa.Column("application_id", sa.BigInteger),
        sa.Column("participant_id", sa.BigInteger),
        sa.Column("before", postgresql.JSONB),
        sa.Column("after", postgresql.JSONB),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("application_name", sa.Text, nullable=False),
        # One constant, not a list: PostgreSQL reads the expression again for every insert.
        sa.CheckConstraint("kind = any ('{{{}}}')".format(",".join(KINDS)), name="event_kind_known"),
        schema="integrity",
        postgresql_partition_by="RANGE (at)",
        comment=MEANING,
    )
    op.create_index("event_quest_id_at_idx", "event", ["quest_id", "at"], schema="integrity")
    install_all(FUNCTIONS + VIEWS)
    distribute_by_quest("integrity.event")
    execute("select integrity.prepare_event_partitions(12)")


def downgrade() -> None:
    """Drop the event log with all events."""
    remove_all(VIEWS)
    op.drop_table("event", schema="integrity")
    remove_all(FUNCTIONS)
