"""The backfill: sets the markers of existing rows, in batches, and changes nothing else.

Locks: row locks on one batch at a time, for the length of its transaction. Rows locked by a client are skipped and set
at the end.
"""

import json

import sqlalchemy as sa
from alembic import op
from psycopg.errors import Diagnostic

from checks import ddl
from checks.progress import Progress
from migrations.options import is_offline, options
from migrations.sql_objects import execute, install_all, remove_all
from migrations.steps import autocommit, lock_policy

revision = "0005_backfill"
down_revision = "0004_markers"
branch_labels = None
depends_on = None

OBJECTS = ("adoption/backfill_batch", "adoption/backfill_sweep", "adoption/backfill_markers")

TASKS = (
    ("applications_application", "integrity_approved", "status = 'approved'"),
    ("quests_quest", "integrity_assigned", "assigned_to_id is not null"),
    ("quests_questparticipant", "integrity_active", "status <> 'dropped'"),
)


def upgrade() -> None:
    """Create the backfill procedure and call it."""
    op.create_table(
        "backfill",
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("marker", sa.Text, nullable=False),
        sa.Column("condition", sa.Text, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False, server_default=sa.text("'-9223372036854775808'")),
        sa.Column("rows_marked", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("relation", name="backfill_pkey"),
        schema="integrity",
        comment="Progress of the backfill of each app table. A stopped backfill continues from last_id.",
        if_not_exists=True,
    )
    install_all(OBJECTS)
    for relation, marker, condition in TASKS:
        quoted = condition.replace("'", "''")
        execute(
            "insert into integrity.backfill (relation, marker, condition) "
            f"values ('{relation}', '{marker}', '{quoted}') on conflict (relation) do nothing"
        )
    if is_offline():
        op.execute("commit")
        op.execute("call integrity.backfill_markers()")
        op.execute("begin")
        return
    _call()


def _call() -> None:
    with autocommit() as connection, Progress() as progress:

        def show(notice: Diagnostic) -> None:
            if notice.message_detail and notice.message_detail.startswith("{"):
                at = json.loads(notice.message_detail)
                progress.at(f"markers of {at['relation']}", at["id"], at["max"])

        connection.add_notice_handler(show)
        connection.execute("set statement_timeout = 0")
        ddl.run(
            connection,
            f"call integrity.backfill_markers({options().backfill_batch}, {options().backfill_pause})",
            lock_policy(),
        )
        connection.execute("reset statement_timeout")
        connection.remove_notice_handler(show)


def downgrade() -> None:
    """Drop the progress; 0004_markers drops the columns."""
    remove_all(OBJECTS)
    op.drop_table("backfill", schema="integrity")
