"""What it is worth: versions of the programme's files, current scores, their history, and the queues of work."""

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import SQLModel

from models.tables import columns


class ProgrammeVersion(SQLModel, table=True):
    """A file of the programme as it once was, by content: scores and enrolments name the version they came from."""

    __tablename__ = "programme_versions"
    __table_args__ = (UniqueConstraint("kind", "name", "digest"),)

    id: int | None = columns.key()
    kind: str = (
        columns.text()
    )  # scoring | models (which there are) | routing (lifecycle and sequences at once) | sequence
    name: str = columns.text()
    digest: bytes = columns.digest()
    content: str = columns.text()  # canonical JSON, lists resolved
    recorded_at: int = columns.at()
    activated_at: int = columns.at()  # the newest of a kind and name is in force


class Activation(SQLModel, table=True):
    """Append-only: a version came into force. A file that goes back to an older content has two for that version."""

    __tablename__ = "activations"
    __table_args__ = (Index("ix_activations_version", "version_id", "at"),)

    id: int | None = columns.key()
    version_id: int = columns.reference("programme_versions.id")
    at: int = columns.at()


class Score(SQLModel, table=True):
    """The current score of a lead, an account or a deal under a model; points are rounded to 4 decimals."""

    __tablename__ = "scores"
    __table_args__ = (
        Index(
            "ix_scores_due",
            "model",
            "next_change_at",
            sqlite_where=text("next_change_at IS NOT NULL"),
            postgresql_where=text("next_change_at IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},  # the natural key is the row's place: half the writing of a key beside a rowid
    )

    subject_id: int = columns.id_part()  # of a lead, an account or a deal: what the model scores
    model: str = columns.text_part()
    version_id: int = columns.number()
    as_of: int = columns.at()
    total: float
    dimensions: str = columns.text()  # JSON object: dimension → points
    cell: str | None = columns.optional_text()
    band: str | None = columns.optional_text()
    must: int = columns.flag()
    excluded: str | None = columns.optional_text()
    surge: int = columns.flag()
    next_change_at: int | None = columns.optional_at()
    revision: int = columns.number(1)  # raised by every writing: a score computed from older facts never overwrites


class ScoreChange(SQLModel, table=True):
    """Append-only: a score as it became. One row for a subject, version and instant, however often it is computed."""

    __tablename__ = "score_changes"
    __table_args__ = ({"sqlite_with_rowid": False},)

    subject_id: int = columns.id_part()
    version_id: int = columns.id_part()
    at: int = columns.id_part()
    total: float
    cell: str | None = columns.optional_text()
    band: str | None = columns.optional_text()
    must: int = columns.flag()
    excluded: str | None = columns.optional_text()


class QueuedWork(SQLModel, table=True):
    """What a flow has to look at: leads touched since their last score (queue `score`), accounts (`score_account`),
    deals (`score_deal`), and leads that were scored or whose deal moved (`route`).

    Whoever touches it inserts or raises `revision`; whoever did the work deletes the row where `revision` is
    still the one it read, so that a touch that comes in between is never lost.
    """

    __tablename__ = "work_queue"
    __table_args__ = ({"sqlite_with_rowid": False},)

    queue: str = columns.text_part()
    subject_id: int = columns.id_part()
    revision: int = columns.number(1)


class Watermark(SQLModel, table=True):
    """An instant up to which something was looked at for what falls due by time alone."""

    __tablename__ = "watermarks"

    name: str = columns.text_part()
    at: int = columns.at()


class Lease(SQLModel, table=True):
    """A named right to do something alone (a chunk, a flow), until an instant of the wall clock."""

    __tablename__ = "leases"

    name: str = columns.text_part()
    owner: str = columns.text()
    until: int = columns.at()
