"""The markers, and the triggers that set them: the first change of the app's tables.

Locks: per table ACCESS EXCLUSIVE for ADD COLUMN (no default, so no rewrite) and SHARE ROW EXCLUSIVE for CREATE
TRIGGER, each in its own transaction of milliseconds. Each attempt waits at most lock-timeout.
"""

from migrations.sql_objects import installing, remove_all
from migrations.steps import each_alone

revision = "0004_markers"
down_revision = "0003_events"
branch_labels = None
depends_on = None

MARKING = ("mechanism/mark_application", "mechanism/mark_participant", "mechanism/mark_quest")

MARKERS = (
    ("applications_application", "integrity_approved", "TRUE when status is approved, else NULL."),
    ("quests_questparticipant", "integrity_active", "TRUE when status is not dropped, else NULL."),
    ("quests_quest", "integrity_assigned", "TRUE when assigned_to_id is not null, else NULL."),
)


def upgrade() -> None:
    """Add the columns, then the triggers that set them."""
    each_alone(
        [f"alter table public.{table} add column if not exists {column} boolean" for table, column, _ in MARKERS]
    )
    each_alone([f"comment on column public.{table}.{column} is '{comment}'" for table, column, comment in MARKERS])
    each_alone([installing(name, 1) for name in MARKING])


def downgrade() -> None:
    """Drop the triggers, then the columns."""
    each_alone([f"drop trigger if exists integrity_mark on public.{table}" for table, *_ in MARKERS])
    each_alone([f"alter table public.{table} drop column if exists {column}" for table, column, _ in MARKERS])
    remove_all(MARKING)
