"""What people allowed us to write about, and the proof of it."""

from sqlalchemy import Index
from sqlmodel import SQLModel

from models.tables import columns


class Consent(SQLModel, table=True):
    """Append-only: an address asked for, granted or withdrew a topic. docs/consent.md says how the rows are read."""

    __tablename__ = "consents"
    __table_args__ = (Index("ix_consents_address", "digest", "topic", "at"), Index("ix_consents_lead", "lead_id"))

    id: int | None = columns.key()
    key: bytes = columns.digest(unique=True)  # of what it was learnt from, topic and state: learning twice adds no row
    digest: bytes = columns.digest()  # keyed hash of the address, as in `suppressions`
    lead_id: int | None = columns.optional_number()  # whose address it was then; a merged lead's rows keep its id
    topic: str = columns.text()  # a topic of warmline.yaml, or * for every topic
    state: str = columns.text()  # requested | granted | withdrawn
    at: int = columns.at()
    recorded_at: int = columns.at()
    evidence: str = columns.text()  # JSON object: models.rules.consent.EVIDENCE
