"""Where the links of our mails lead to."""

from sqlalchemy import Index, text
from sqlmodel import SQLModel

from models.tables import columns


class Link(SQLModel, table=True):
    """An address that mails lead to, once. What a click's redirect goes by: nothing in a request says where to."""

    __tablename__ = "links"
    __table_args__ = (
        Index(
            "ix_links_lead",
            "lead_id",
            sqlite_where=text("lead_id IS NOT NULL"),
            postgresql_where=text("lead_id IS NOT NULL"),
        ),
    )

    key: bytes = columns.digest(primary_key=True)  # 10 bytes of HMAC-SHA256, which outsiders cannot guess
    url: str = columns.text()
    # Of a link that is made of this lead's data, so that it can be erased; a merged lead's keep its id.
    lead_id: int | None = columns.optional_number()
