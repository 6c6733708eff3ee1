"""What followed from crossings: actions that were taken, and the webhooks that went out or are to go out."""

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import SQLModel

from models.tables import columns


class ActionTaken(SQLModel, table=True):
    """Append-only: an action of lifecycle.yaml met a crossing, once for each lead. Those of a merged lead stay under
    its old id."""

    __tablename__ = "actions_taken"
    __table_args__ = (
        UniqueConstraint("action", "crossing", "lead_id"),
        Index("ix_actions_taken_lead", "lead_id", "action", "at"),
    )

    id: int | None = columns.key()
    action: str = columns.text()
    crossing: str = columns.text()  # stage:ID of the change | score:MODEL:SUBJECT:VERSION:AT of the change
    lead_id: int = columns.number()
    at: int = columns.at()
    told: str = columns.text()  # the crossing in words
    done: str = columns.text()  # JSON list: what was done, in words; what could not be, and why
    passed_over: str | None = columns.optional_text()  # why nothing was done


class WebhookDelivery(SQLModel, table=True):
    """One intended webhook: an outbox of its own. state: queued | delivered | dead | resolved; docs/webhooks.md."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(
            "ix_webhook_deliveries_ready",
            "next_attempt_at",
            "id",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index("ix_webhook_deliveries_lead", "lead_id"),
    )

    id: int | None = columns.key()
    webhook_id: str = columns.text(unique=True)  # from its idempotency key: the receiver tells a repetition by it
    endpoint: str = columns.text()  # its name in warmline.yaml
    state: str = columns.text(default="queued")
    lead_id: int | None = columns.optional_number()
    body: str = columns.text()  # JSON, as it is signed and sent
    created_at: int = columns.at()
    next_attempt_at: int = columns.at()  # programme time
    attempts: int = columns.number(0)
    lease_owner: str | None = columns.optional_text()
    lease_until: int | None = columns.optional_at()  # wall clock
    ended_at: int | None = columns.optional_at()
    status: int | None = columns.optional_number()  # of the last answer; None: there was none
    reason: str | None = columns.optional_text()  # what the last attempt came to, or who resolved it and why


class DisabledEndpoint(SQLModel, table=True):
    """An endpoint that said it is gone (410): nothing is sent there until a person or another URL says so."""

    __tablename__ = "disabled_endpoints"

    name: str = columns.text_part()
    url: str = columns.text()
    at: int = columns.at()
    reason: str = columns.text()
