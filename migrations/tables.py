"""The tables as SQLAlchemy metadata, which `alembic check` compares with a migrated database.

The app's tables have no schema here: env.py sets the search_path to the app's schema.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.types import UserDefinedType

metadata = MetaData()

Moment = DateTime(timezone=True)


class XID8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Return the type's name in DDL."""
        return "xid8"


# Without this, reflection (and `alembic check`) warns of an unknown type.
PGDialect.ischema_names["xid8"] = XID8


def _identity() -> Column[int]:
    return Column("id", BigInteger, Identity(always=False), nullable=False)


users = Table(
    "users_user",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("password", String(128), nullable=False),
    Column("last_login", Moment),
    Column("is_superuser", Boolean, nullable=False),
    Column("username", String(150), nullable=False),
    Column("first_name", String(150), nullable=False),
    Column("last_name", String(150), nullable=False),
    Column("is_staff", Boolean, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("date_joined", Moment, nullable=False),
    Column("email", String(254), nullable=False),
    PrimaryKeyConstraint("id", name="users_user_pkey"),
    UniqueConstraint("username", name="users_user_username_key"),
    UniqueConstraint("email", name="users_user_email_key"),
)

categories = Table(
    "quests_questcategory",
    metadata,
    _identity(),
    Column("name", String(100), nullable=False),
    Column("description", Text),
    Column("created_at", Moment, nullable=False),
    PrimaryKeyConstraint("id", name="quests_questcategory_pkey"),
)


def _app_key(table: str, column: str, target: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        [column], [f"{target}.id"], name=f"{table}_{column}_fk", deferrable=True, initially="DEFERRED"
    )


quests = Table(
    "quests_quest",
    metadata,
    _identity(),
    Column("title", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("difficulty", String(10), nullable=False),
    Column("status", String(15), nullable=False),
    Column("xp_reward", Integer, nullable=False),
    Column("gold_reward", Integer, nullable=False),
    Column("commission_fee", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("due_date", Date),
    Column("completed_at", Moment),
    Column("requirements", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("slug", String(250), nullable=False),
    Column("is_deleted", Boolean, nullable=False),
    Column("assigned_to_id", Uuid),
    Column("category_id", BigInteger, nullable=False),
    Column("creator_id", Uuid, nullable=False),
    PrimaryKeyConstraint("id", name="quests_quest_pkey"),
    UniqueConstraint("slug", name="quests_quest_slug_key"),
    CheckConstraint("xp_reward >= 0", name="quests_quest_xp_reward_check"),
    CheckConstraint("gold_reward >= 0", name="quests_quest_gold_reward_check"),
    CheckConstraint("commission_fee >= 0", name="quests_quest_commission_fee_check"),
    _app_key("quests_quest", "assigned_to_id", "users_user"),
    _app_key("quests_quest", "category_id", "quests_questcategory"),
    _app_key("quests_quest", "creator_id", "users_user"),
    Index("quests_quest_status_difficulty_idx", "status", "difficulty"),
    Index("quests_quest_creator_id_status_idx", "creator_id", "status"),
    Index("quests_quest_assigned_to_id_status_idx", "assigned_to_id", "status"),
    Index("quests_quest_created_at_idx", "created_at"),
    Index("quests_quest_assigned_to_id_idx", "assigned_to_id"),
    Index("quests_quest_category_id_idx", "category_id"),
    Index("quests_quest_creator_id_idx", "creator_id"),
)

applications = Table(
    "applications_application",
    metadata,
    _identity(),
    Column("status", String(15), nullable=False),
    Column("applied_at", Moment, nullable=False),
    Column("reviewed_at", Moment),
    Column("applicant_id", Uuid, nullable=False),
    Column("quest_id", BigInteger, nullable=False),
    Column("reviewed_by_id", Uuid),
    PrimaryKeyConstraint("id", name="applications_application_pkey"),
    _app_key("applications_application", "applicant_id", "users_user"),
    _app_key("applications_application", "quest_id", "quests_quest"),
    _app_key("applications_application", "reviewed_by_id", "users_user"),
    Index("applications_application_quest_id_status_idx", "quest_id", "status"),
    Index("applications_application_applicant_id_status_idx", "applicant_id", "status"),
    Index("applications_application_applied_at_idx", "applied_at"),
    Index("applications_application_quest_id_applicant_id_idx", "quest_id", "applicant_id"),
    Index("applications_application_applicant_id_idx", "applicant_id"),
    Index("applications_application_quest_id_idx", "quest_id"),
    Index("applications_application_reviewed_by_id_idx", "reviewed_by_id"),
)

participants = Table(
    "quests_questparticipant",
    metadata,
    _identity(),
    Column("status", String(15), nullable=False),
    Column("joined_at", Moment, nullable=False),
    Column("progress_notes", Text, nullable=False),
    Column("completed_at", Moment),
    Column("application_id", BigInteger),
    Column("application_date", Moment),
    Column("application_message", Text),
    Column("review_notes", Text),
    Column("reviewed_at", Moment),
    Column("quest_id", BigInteger, nullable=False),
    Column("user_id", Uuid, nullable=False),
    PrimaryKeyConstraint("id", name="quests_questparticipant_pkey"),
    UniqueConstraint("quest_id", "user_id", name="quests_questparticipant_quest_id_user_id_key"),
    _app_key("quests_questparticipant", "quest_id", "quests_quest"),
    _app_key("quests_questparticipant", "user_id", "users_user"),
    Index("quests_questparticipant_quest_id_status_idx", "quest_id", "status"),
    Index("quests_questparticipant_user_id_status_idx", "user_id", "status"),
    Index("quests_questparticipant_quest_id_idx", "quest_id"),
    Index("quests_questparticipant_user_id_idx", "user_id"),
)

APP_TABLES = (users, categories, quests, applications, participants)

# The markers, and the unique and foreign keys of the law.
quests.append_column(Column("integrity_assigned", Boolean, comment="TRUE when assigned_to_id is not null, else NULL."))
applications.append_column(Column("integrity_approved", Boolean, comment="TRUE when status is approved, else NULL."))
participants.append_column(Column("integrity_active", Boolean, comment="TRUE when status is not dropped, else NULL."))


def _law(columns: list[str], targets: list[str], name: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(columns, targets, name=name, deferrable=True, initially="DEFERRED", use_alter=True)


quests.append_constraint(UniqueConstraint("id", "integrity_assigned", name="integrity_quest_key"))
participants.append_constraint(
    UniqueConstraint("quest_id", "user_id", "integrity_active", name="integrity_active_participant_key")
)
applications.append_constraint(
    UniqueConstraint("quest_id", "applicant_id", "integrity_approved", name="integrity_approved_application_key")
)
applications.append_constraint(
    _law(
        ["quest_id", "applicant_id", "integrity_approved"],
        [f"quests_questparticipant.{column}" for column in ("quest_id", "user_id", "integrity_active")],
        "integrity_approved_application_has_participant",
    )
)
quests.append_constraint(
    _law(
        ["id", "assigned_to_id", "integrity_assigned"],
        [f"quests_questparticipant.{column}" for column in ("quest_id", "user_id", "integrity_active")],
        "integrity_assignee_is_participant",
    )
)
participants.append_constraint(
    _law(
        ["quest_id", "integrity_active"],
        [f"quests_quest.{column}" for column in ("id", "integrity_assigned")],
        "integrity_participant_has_assigned_quest",
    )
)

installation = Table(
    "installation",
    metadata,
    Column("singleton", Boolean, nullable=False, server_default=text("true")),
    Column("app_schema", Text, nullable=False),
    Column("created_tables", ARRAY(Text), nullable=False),
    Column("installed_at", Moment, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("singleton", name="installation_pkey"),
    CheckConstraint("singleton", name="installation_is_one_row"),
    schema="integrity",
    comment="The schema of the app's tables, and which of them the migrations created. One row.",
)

status = Table(
    "status",
    metadata,
    Column("relation", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("built_in", Boolean, nullable=False),
    PrimaryKeyConstraint("relation", "status", name="status_pkey"),
    schema="integrity",
    comment="The statuses that rows of the app may have. built_in: the layer itself works with it. Others are added "
    "with integrity.add_status().",
)

rule = Table(
    "rule",
    metadata,
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("meaning", Text, nullable=False),
    Column("broken_by", Text, nullable=False, server_default=text("''")),
    Column("position", Integer, Identity(always=True), nullable=False),
    Column("relaxed_severity", Text),
    Column("built_in", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("rule", name="rule_pkey"),
    CheckConstraint("severity in ('error', 'warning', 'off')", name="rule_severity_known"),
    CheckConstraint("relaxed_severity in ('error', 'warning', 'off')", name="rule_relaxed_severity_known"),
    schema="integrity",
    comment="The rules. Each has a view of the same name in this schema. To add one, call integrity.add_rule().",
)

event = Table(
    "event",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("at", Moment, nullable=False, server_default=text("now()")),
    Column("transaction", XID8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("kind", Text, nullable=False),
    Column("quest_id", BigInteger),
    Column("user_id", Uuid),
    Column("application_id", BigInteger),
    Column("participant_id", BigInteger),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("actor", Text, nullable=False),
    Column("application_name", Text, nullable=False),
    CheckConstraint(
        "kind = any ('{application_approved,application_ended,participant_joined,participant_dropped,"
        "quest_write_corrected,mechanism_off,repaired,undone,events_dropped,statuses_changed,"
        "rule_enforced,rule_relaxed,detached,attached}')",
        name="event_kind_known",
    ),
    Index("event_quest_id_at_idx", "quest_id", "at"),
    schema="integrity",
    postgresql_partition_by="RANGE (at)",
    comment="Append-only log of what triggers, repairs and retention did, written in the same transaction. "
    "Kinds, explained by integrity.event_kind: application_approved, application_ended, participant_joined, "
    "participant_dropped, quest_write_corrected, mechanism_off, repaired, undone, events_dropped, statuses_changed, "
    "rule_enforced, rule_relaxed, detached, attached.",
)

law = Table(
    "law",
    metadata,
    Column("name", Text, nullable=False),
    Column("relation", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("columns", Text),
    Column("definition", Text, nullable=False, server_default=text("''")),
    Column("requires", Text),
    Column("waits", Boolean, nullable=False, server_default=text("false")),
    Column("stand_in", Text),
    Column("rules", ARRAY(Text), nullable=False),
    Column("position", Integer, Identity(always=True), nullable=False),
    Column("chosen", Boolean, server_default=text("false")),
    Column("built_in", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("name", name="law_pkey"),
    CheckConstraint("kind in ('unique', 'unique index', 'check', 'foreign key')", name="law_kind_known"),
    schema="integrity",
    comment="Every constraint of the law: which one it requires first, the rules whose violations prevent it, and "
    "whether somebody has chosen it (NULL: it is always enforced).",
)

backfill = Table(
    "backfill",
    metadata,
    Column("relation", Text, nullable=False),
    Column("marker", Text, nullable=False),
    Column("condition", Text, nullable=False),
    Column("last_id", BigInteger, nullable=False, server_default=text("'-9223372036854775808'")),
    Column("rows_marked", BigInteger, nullable=False, server_default=text("0")),
    Column("finished_at", Moment),
    PrimaryKeyConstraint("relation", name="backfill_pkey"),
    schema="integrity",
    comment="Progress of the backfill of each app table. A stopped backfill continues from last_id.",
)

guard = Table(
    "guard",
    metadata,
    Column("kind", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("expected", JSONB, nullable=False),
    Column("definition", Text),
    Column("position", BigInteger, nullable=False),
    Column("waiting", Boolean, nullable=False),
    Column("stands_in_for", Text),
    PrimaryKeyConstraint("kind", "identity", name="guard_pkey"),
    schema="integrity",
    comment="The manifest: what each object of the layer must be. Written by integrity.record_guards().",
)

detached_object = Table(
    "detached_object",
    metadata,
    Column("kind", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("definition", Text),
    Column("owner", Text),
    Column("grants", JSONB),
    Column("at", Moment, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("kind", "identity", name="detached_object_pkey"),
    schema="integrity",
    comment="What integrity.detach() dropped and nobody has put back. Empty while the layer is attached.",
)

repair_run = Table(
    "repair_run",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("started_at", Moment, nullable=False, server_default=text("clock_timestamp()")),
    Column("finished_at", Moment),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("options", JSONB, nullable=False),
    Column("undoes", BigInteger),
    PrimaryKeyConstraint("id", name="repair_run_pkey"),
    ForeignKeyConstraint(["undoes"], ["integrity.repair_run.id"], name="repair_run_undoes_fk"),
    CheckConstraint("kind in ('repair', 'undo')", name="repair_run_kind_known"),
    schema="integrity",
    comment="Repairs and undos: who ran what, when and why.",
)

repair_item = Table(
    "repair_item",
    metadata,
    Column("run", BigInteger, nullable=False),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("rule", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("quest_id", BigInteger, nullable=False),
    Column("outcome", Text),
    Column("detail", Text),
    PrimaryKeyConstraint("run", "number", name="repair_item_pkey"),
    ForeignKeyConstraint(["run"], ["integrity.repair_run.id"], name="repair_item_run_fk"),
    CheckConstraint(
        "outcome in ('repaired', 'gone', 'refused', 'undone', 'partly undone', 'changed since')",
        name="repair_item_outcome_known",
    ),
    schema="integrity",
    comment="The violations to repair or quests to undo of a run, each with its outcome, NULL until it is done.",
)

repair_change = Table(
    "repair_change",
    metadata,
    Column("run", BigInteger, nullable=False),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("rule", Text),
    Column("quest_id", BigInteger, nullable=False),
    Column("relation", Text, nullable=False),
    Column("row_key", JSONB, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    PrimaryKeyConstraint("run", "number", name="repair_change_pkey"),
    Index("repair_change_run_quest_id_idx", "run", "quest_id"),
    ForeignKeyConstraint(["run"], ["integrity.repair_run.id"], name="repair_change_run_fk"),
    schema="integrity",
    comment="Every row that a repair or undo changed: the whole row before and after.",
)

audit_run = Table(
    "audit_run",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("started_at", Moment, nullable=False, server_default=text("clock_timestamp()")),
    Column("duration", Interval),
    Column("actor", Text, nullable=False),
    Column("damage", ARRAY(Text)),
    PrimaryKeyConstraint("id", name="audit_run_pkey"),
    schema="integrity",
    comment="Recorded audits: when, how long, by whom, and the damage that the guards reported.",
)

audit_count = Table(
    "audit_count",
    metadata,
    Column("run", BigInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("violations", BigInteger, nullable=False),
    Column("quests", BigInteger, nullable=False),
    Column("users", BigInteger, nullable=False),
    PrimaryKeyConstraint("run", "rule", name="audit_count_pkey"),
    ForeignKeyConstraint(["run"], ["integrity.audit_run.id"], name="audit_count_run_fk", ondelete="CASCADE"),
    schema="integrity",
    comment="Violations per rule of each recorded audit, also for rules without violations.",
)

audit_violation = Table(
    "audit_violation",
    metadata,
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("rule", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("quest_id", BigInteger),
    Column("user_id", Uuid),
    Column("first_run", BigInteger, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("gone_run", BigInteger),
    Column("gone_at", Moment),
    PrimaryKeyConstraint("number", name="audit_violation_pkey"),
    Index("audit_violation_open_key", "key", unique=True, postgresql_where=text("gone_run is null")),
    Index("audit_violation_first_run_idx", "first_run"),
    Index("audit_violation_gone_run_idx", "gone_run"),
    schema="integrity",
    comment="Every violation found by a recorded audit: from first_run on, until gone_run did not find it.",
)
