"""What came back by mail: each mail as it came, what was made of it, and what refusals say of an address over time."""

from sqlalchemy import Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from models.tables import columns


class ReturnedMail(SQLModel, table=True):
    """A mail that came back. state: waiting | done | kept (nothing could be done: `reason` says why)."""

    __tablename__ = "returned_mails"
    __table_args__ = (
        Index(
            "ix_returned_mails_waiting",
            "id",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_returned_mails_message", "message_id"),
        # What still has its bytes, to be dropped in time.
        Index(
            "ix_returned_mails_content",
            "received_at",
            sqlite_where=text("length(content) > 0"),
            postgresql_where=text("length(content) > 0"),
        ),
    )

    id: int | None = columns.key()
    # Of its Message-ID, Date, From, To, Subject and body: the same mail by two ways is one.
    digest: bytes = columns.digest(unique=True)
    state: str = columns.text(default="waiting")
    way: str = columns.text()  # lmtp | imap | file | hook (an event of a mail provider, as JSON)
    recipients: str = columns.text(default="[]")  # JSON list: the envelope's, where the way knows it
    content: bytes = Field(sa_type=LargeBinary)  # the mail's bytes, packed by zlib; empty: dropped since
    received_at: int = columns.at()
    done_at: int | None = columns.optional_at()
    kind: str | None = columns.optional_text()
    message_id: str | None = columns.optional_text()  # of the mail of ours that it is about
    outcome: str | None = columns.optional_text()  # in words, what was done
    reason: str | None = columns.optional_text()  # why nothing was done


class ReturnedAddress(SQLModel, table=True):
    """An address that a returned mail is from or speaks of, by its suppression hash: so that a person's are found."""

    __tablename__ = "returned_addresses"
    __table_args__ = (Index("ix_returned_addresses_mail", "returned_mail_id"), {"sqlite_with_rowid": False})

    digest: bytes = columns.digest(primary_key=True)
    returned_mail_id: int = columns.id_part()


class Refusal(SQLModel, table=True):
    """Append-only: what one returned mail said of an address, kept by its suppression hash. The evidence of strikes."""

    __tablename__ = "refusals"
    __table_args__ = ({"sqlite_with_rowid": False},)

    digest: bytes = columns.digest(primary_key=True)
    returned_mail_id: int = columns.id_part()
    message_id: str = columns.text()
    at: int = columns.at()
    severity: str = columns.text()
    status: str = columns.text()
