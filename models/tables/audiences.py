"""Who is in which audience, as its receivers were told, and each telling."""

from sqlalchemy import Index
from sqlmodel import SQLModel

from models.tables import columns


class AudienceMember(SQLModel, table=True):
    """An address in an audience, by the hash that ad platforms know it by. A row stays until its receiver was told that
    the member left, even if the lead is erased: nobody could be taken off a platform's list otherwise."""

    __tablename__ = "audience_members"
    __table_args__ = (Index("ix_audience_members_lead", "lead_id"), {"sqlite_with_rowid": False})

    audience: str = columns.text_part()
    destination: str = columns.text_part()  # file | webhook:NAME
    digest: bytes = columns.digest(primary_key=True)  # SHA-256 of the normalised address
    lead_id: int | None = columns.optional_number()
    since: int = columns.at()
    seen_at: int = columns.at()  # of the newest looking-through that found it to be a member
    told: int = columns.flag()  # 1 = the receiver knows that it is a member


class AudienceExport(SQLModel, table=True):
    """Append-only: an audience was told to a receiver."""

    __tablename__ = "audience_exports"
    __table_args__ = (Index("ix_audience_exports_audience", "audience", "destination", "at"),)

    id: int | None = columns.key()
    audience: str = columns.text()
    destination: str = columns.text()
    at: int = columns.at()
    members: int = columns.number()
    added: int = columns.number()
    removed: int = columns.number()
