"""Who: accounts, leads, the identities that lead to them, merges of leads, and the history of their attributes."""

from sqlalchemy import Index, text
from sqlmodel import SQLModel

from models.tables import columns


class Account(SQLModel, table=True):
    """A company. `key` is its trimmed, case-folded name: what files call it by."""

    __tablename__ = "accounts"

    id: int | None = columns.key()
    key: str = columns.text(unique=True)
    name: str = columns.text()
    domain: str | None = columns.optional_text(index=True)
    owner: str | None = columns.optional_text()
    attributes: str = columns.text(default="{}")
    created_at: int = columns.at()
    recorded_at: int = columns.at()


class Lead(SQLModel, table=True):
    """A person. `stage` moves only by compare-and-set (models.queries.stages); `attributes`: its JSON object today."""

    __tablename__ = "leads"
    __table_args__ = (Index("ix_leads_stage", "stage", "id"),)

    id: int | None = columns.key()
    account_id: int | None = columns.optional_reference("accounts.id", index=True)
    email: str | None = columns.optional_text()
    stage: str = columns.text(default="subscriber")
    stage_at: int = columns.at()
    stage_said: str | None = columns.optional_text()  # raised | lowered: a person moved it here, which points keep to
    owner: str | None = columns.optional_text()
    attributes: str = columns.text(default="{}")
    created_at: int = columns.at()
    recorded_at: int = columns.at()


class Identity(SQLModel, table=True):
    """What a source calls a lead: kind email | user_id | anonymous_id | external (value `source:id`)."""

    __tablename__ = "identities"
    __table_args__ = ({"sqlite_with_rowid": False},)  # one search from an address to its lead, not two

    kind: str = columns.text_part()
    value: str = columns.text_part()
    lead_id: int = columns.reference("leads.id", index=True)
    recorded_at: int = columns.at()
    named_at: int | None = columns.optional_at()  # of the earliest record with it; a device: with a person, too
    named_as: str | None = columns.optional_text()  # of a device: by what that record calls the person


class Merge(SQLModel, table=True):
    """Append-only: two leads were one person. What the loser did and was told of it goes over to the survivor.

    `survivor_id` may have been merged itself since: the chain is followed. The loser's row is gone once `finished_at`
    is set; `lead` keeps what it was.
    """

    __tablename__ = "merges"
    __table_args__ = (
        Index("ix_merges_survivor", "survivor_id"),
        Index(
            "ix_merges_unfinished",
            "loser_id",
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    loser_id: int = columns.id_part()  # no foreign keys: one of the two is gone, the other may be one day
    survivor_id: int = columns.number()
    source: str = columns.text()
    cause: str = columns.text()  # person: a record names both as one; device: an anonymous visitor became known
    occurred_at: int = columns.at()
    recorded_at: int = columns.at()
    known_since: int | None = columns.optional_at()  # None: read as history, as if they had always been one
    lead: str | None = columns.optional_text()  # JSON: the loser's row; set when all but its activities has gone over
    finished_at: int | None = columns.optional_at()


class MergeConflict(SQLModel, table=True):
    """Append-only: a record named two leads as one that are surely two persons; they stay two."""

    __tablename__ = "merge_conflicts"

    one_id: int = columns.id_part()
    other_id: int = columns.id_part()
    source: str = columns.text()
    occurred_at: int = columns.at()
    recorded_at: int = columns.at()


class AttributeChange(SQLModel, table=True):
    """Append-only: the attributes of a lead, an account or a deal that one record changed. null = taken away."""

    __tablename__ = "attribute_changes"
    __table_args__ = (Index("ix_attribute_changes_subject", "subject", "subject_id", "occurred_at"),)

    id: int | None = columns.key()
    subject: str = columns.text()  # lead | account | deal
    subject_id: int = columns.number()
    occurred_at: int = columns.at()
    recorded_at: int = columns.at()
    source: str = columns.text()
    changes: str = columns.text()  # JSON object
    device: int | None = columns.optional_number()  # models.rules.records.device_number, where nobody was named
