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
    taken: int = columns.number(0)  # of its items, the first ones, that are stored: a large batch takes several steps


class CollectorKey(SQLModel, table=True):
    """A write key of a source; of the key itself only a digest and its first characters are kept."""

    __tablename__ = "collector_keys"

    id: int | None = columns.key()
    source: str = columns.text()
    digest: bytes = columns.digest(unique=True)  # 32 bytes of BLAKE2b
    begins: str = columns.text()  # its first characters: enough to tell two keys apart, too few to use one
    created_at: int = columns.at()
    used_at: int | None = columns.optional_at()  # to the hour: whether an old key may be revoked
    revoked_at: int | None = columns.optional_at()


class ReceivedCount(SQLModel, table=True):
    """What became of the items that came in on one day (UTC); `received` is always the sum of the other three."""

    __tablename__ = "received_counts"
    __table_args__ = ({"sqlite_with_rowid": False},)

    source: str = columns.text_part()
    form: str = columns.text_part()
    day: int = columns.id_part()  # days since 1970, by when the batch came in
    received: int = columns.number(0)
    accepted: int = columns.number(0)
    duplicate: int = columns.number(0)  # those that were rejected before with the same words among them
    rejected: int = columns.number(0)  # as many as there are rejected records
