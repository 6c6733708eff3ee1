"""What comes in over HTTP: batches that were answered 200 and wait to be resolved, and the keys that let them in."""

from sqlalchemy import LargeBinary
from sqlmodel import Field, SQLModel

from models.tables import columns


class ReceivedBatch(SQLModel, table=True):
    """A request's body that was promised to be kept. Gone in the transaction that stores what it says.

    Its id names one batch for ever: rejected records speak of it after it is gone.
    """

    __tablename__ = "received_batches"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = columns.key()
    source: str = columns.text()  # the name that `warmline keys add` was given, the hook's, or "warmline" for our links
    form: str = columns.text()  # segment | posthog | cloudevents | hook | tracking
    received_at: int = columns.at()
    content: bytes = Field(sa_type=LargeBinary)  # the body after Content-Encoding was undone, exactly
    details: str | None = columns.optional_text()  # JSON of what the body does not carry: endpoint, ce-* headers …


class CollectorKey(SQLModel, table=True):
    """A write key of a source; of the key itself only a digest and its first characters are kept."""

    __tablename__ = "collector_keys"

    id: int | None = columns.key()
    source: str = columns.text()
    digest: bytes = columns.digest(unique=True)  # 32 bytes of BLAKE2b
    begins: str = columns.text()  # its first characters: enough to tell two keys apart, too few to use one
    created_at: int = columns.at()
    revoked_at: int | None = columns.optional_at()
