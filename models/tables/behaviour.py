"""What was done: interned touchpoints, activities (append-only, the truth), deals, and how each record came in."""

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import SQLModel

from models.tables import columns


class Touchpoint(SQLModel, table=True):
    """One distinct models.rules.touchpoints.Touchpoint; `digest` is its natural key."""

    __tablename__ = "touchpoints"
    __table_args__ = (Index("ix_touchpoints_type", "type"),)

    id: int | None = columns.key()
    digest: bytes = columns.digest(unique=True)
    type: str = columns.text()
    name: str | None = columns.optional_text()
    host: str | None = columns.optional_text()
    path: str | None = columns.optional_text()
    campaign: str | None = columns.optional_text()
    source: str | None = columns.optional_text()
    medium: str | None = columns.optional_text()
    term: str | None = columns.optional_text()
    content: str | None = columns.optional_text()
    referrer_host: str | None = columns.optional_text()
    facets: str = columns.text(default="{}")  # JSON object, values as text or lists of texts
    first_seen_at: int = columns.at()


class Activity(SQLModel, table=True):
    """A lead did something. `dedupe` is 16 bytes of the idempotency key (docs/data-flow.md says which)."""

    __tablename__ = "activities"
    __table_args__ = (
        # Covers what the kernel reads, so that scoring never touches the rows; machine marks stay out of it.
        Index(
            "ix_activities_scored",
            "lead_id",
            "occurred_at",
            "touchpoint_id",
            sqlite_where=text("machine = 0"),
            postgresql_where=text("machine = 0"),
        ),
        Index(
            "ix_activities_machine",
            "lead_id",
            sqlite_where=text("machine = 1"),
            postgresql_where=text("machine = 1"),
        ),
    )

    id: int | None = columns.key()
    dedupe: bytes = columns.digest(unique=True)
    # No foreign keys here nor in scores: both are written in bulk, in the transaction that made what they refer to.
    lead_id: int = columns.number()
    touchpoint_id: int = columns.number()
    occurred_at: int = columns.at()
    recorded_at: int = columns.at()
    machine: int = columns.flag()  # 1 = suspected scanner or machine open: kept, not scored
    properties: str | None = columns.optional_text()  # JSON object: what the source said beyond the touchpoint
    device: int | None = columns.optional_number()  # models.rules.records.device_number, where nobody was named


class MachineMark(SQLModel, table=True):
    """Why an activity is suspected to be a machine's, and since when that was known. `activities.machine` is 1 while it
    has a mark that is not lifted. A row is never taken away: `lifted_at` is when the suspicion was given up."""

    __tablename__ = "machine_marks"
    __table_args__ = ({"sqlite_with_rowid": False},)

    activity_id: int = columns.id_part()
    reason: str = columns.text_part()  # one of models.rules.machine.REASONS
    recorded_at: int = columns.id_part()
    lifted_at: int | None = columns.optional_at()


class Deal(SQLModel, table=True):
    """An opportunity with sales; may belong to an account alone. outcome: open | won | lost."""

    __tablename__ = "deals"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        Index("ix_deals_opened", "opened_at"),
        Index("ix_deals_closed", "closed_at"),
    )

    id: int | None = columns.key()
    source: str = columns.text()
    external_id: str = columns.text()
    lead_id: int | None = columns.optional_reference("leads.id", index=True)
    account_id: int | None = columns.optional_reference("accounts.id", index=True)
    name: str | None = columns.optional_text()
    stage: str | None = columns.optional_text()
    outcome: str = columns.text(default="open")
    amount: float | None = None
    currency: str | None = columns.optional_text()
    product: str | None = columns.optional_text()
    owner: str | None = columns.optional_text()
    opened_at: int | None = columns.optional_at()
    closed_at: int | None = columns.optional_at()
    attributes: str = columns.text(default="{}")
    recorded_at: int = columns.at()


class Cost(SQLModel, table=True):
    """What was spent on one day; `digest` stands for what on (models.rules.records.CostFacts.key). Told again, the
    newest amount holds."""

    __tablename__ = "costs"
    __table_args__ = (Index("ix_costs_day", "day"),)

    id: int | None = columns.key()
    digest: bytes = columns.digest(unique=True)
    told_by: str = columns.text()  # the source of the mapping that read it
    day: str = columns.text()  # ISO 8601: a calendar day of whoever sends the bill, no instant
    source: str | None = columns.optional_text()  # as utm_source …: what touchpoints say of the same click
    medium: str | None = columns.optional_text()
    campaign: str | None = columns.optional_text()
    amount: float
    currency: str = columns.text()  # ISO 4217
    recorded_at: int = columns.at()


class Import(SQLModel, table=True):
    """One reading of one file; received = accepted + duplicate + rejected once `finished_at` is set."""

    __tablename__ = "imports"
    __table_args__ = (Index("ix_imports_digest", "digest"),)

    id: int | None = columns.key()
    kind: str = columns.text()
    file: str = columns.text()
    digest: bytes = columns.digest()  # of the file's bytes, its kind and its mapping: a finished one is not read again
    mapping: str = columns.text()
    received: int = columns.number(0)
    accepted: int = columns.number(0)
    duplicate: int = columns.number(0)
    rejected: int = columns.number(0)
    started_at: int = columns.at()
    finished_at: int | None = columns.optional_at()


class RejectedRecord(SQLModel, table=True):
    """A record that could not be taken, whole, with its reason and line, so that it can be replayed after a fix."""

    __tablename__ = "rejected_records"

    id: int | None = columns.key()
    digest: bytes = columns.digest(unique=True)  # of source, line and record: the same file again adds no row
    import_id: int | None = columns.optional_reference("imports.id", index=True)
    kind: str = columns.text()
    source: str = columns.text()
    line: int = columns.number()  # of a received batch: the item's place, the first is 0
    reason: str = columns.text()
    record: str = columns.text()
    recorded_at: int = columns.at()
    batch_id: int | None = columns.optional_number()  # the received batch that it came in, which is gone by now
    details: str | None = columns.optional_text()  # JSON: all that is needed to read it again, beside its own text
