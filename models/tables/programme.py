"""What was done about it: stage moves, enrolments, assignments, messages (the outbox), suppressions."""

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import SQLModel

from models.tables import columns


class StageChange(SQLModel, table=True):
    """Append-only: a move that was made, by whom or what, and why. Those of a merged lead stay under its old id."""

    __tablename__ = "stage_changes"
    __table_args__ = (UniqueConstraint("lead_id", "at", "to_stage"), Index("ix_stage_changes_at", "at"))

    id: int | None = columns.key()
    lead_id: int = columns.number()  # no foreign key: the lead may have been merged into another one
    from_stage: str = columns.text()
    to_stage: str = columns.text()
    at: int = columns.at()
    cause: str = columns.text()  # in words: the condition that held
    actor: str = columns.text()  # flow | import | merge | the name of who did it by hand
    total: float | None = None
    version_id: int | None = columns.optional_reference("programme_versions.id")


class StageDue(SQLModel, table=True):
    """When a lead's stage has to be looked at again because time alone ends what a `did: {within}` asks for."""

    __tablename__ = "stage_due"

    lead_id: int = columns.id_part()  # no foreign key: the lead may have been merged into another one
    at: int = columns.at(index=True)


class Enrolment(SQLModel, table=True):
    """A lead's way through a nurture sequence. state: active | finished | exited | held; entry 0 is `passed_over`:
    the lead qualified before the sequence was there."""

    __tablename__ = "enrolments"
    __table_args__ = (
        UniqueConstraint("lead_id", "sequence", "entry"),
        Index(
            "ix_enrolments_due",
            "due_at",
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
        Index(
            "ix_enrolments_held",
            "lead_id",
            sqlite_where=text("state = 'held'"),
            postgresql_where=text("state = 'held'"),
        ),
        Index(
            "ix_enrolments_addressed",
            "id",
            sqlite_where=text("state = 'held' AND due_at IS NOT NULL"),
            postgresql_where=text("state = 'held' AND due_at IS NOT NULL"),
        ),
        Index("ix_enrolments_ended", "sequence", "ended_at"),
    )

    id: int | None = columns.key()
    lead_id: int = columns.reference("leads.id")
    sequence: str = columns.text()
    entry: int = columns.number(1)  # 1 for the first time, 2 after re-entry …
    version_id: int = columns.reference("programme_versions.id")
    state: str = columns.text(default="active")
    step: int = columns.number(0)  # index of the next step to do, in the line of its version
    rounds: str | None = columns.optional_text()  # JSON object: how often it went each way that `at_most` limits
    due_at: int | None = columns.optional_at()  # of a held one: when the address came that it was held for
    entered_at: int = columns.at()
    ended_at: int | None = columns.optional_at()
    reason: str | None = columns.optional_text()


class Assignment(SQLModel, table=True):
    """A lead handed to a rep. state: open | accepted | recalled | not_ready | unqualified | reassigned | closed.

    It never changes its rep: passing the lead on ends it (`reassigned`) and opens the next ordinal. `due_at`: when the
    next step of the SLA comes (reminder, next rep, manager); empty once the rep has answered.
    """

    __tablename__ = "assignments"
    __table_args__ = (
        UniqueConstraint("lead_id", "ordinal"),
        Index(
            "ux_assignments_running",
            "lead_id",
            unique=True,
            sqlite_where=text("state IN ('open', 'accepted')"),
            postgresql_where=text("state IN ('open', 'accepted')"),
        ),
        Index("ix_assignments_rep", "rep", "at"),
        Index(
            "ix_assignments_open",
            "rep",
            sqlite_where=text("state IN ('open', 'accepted')"),
            postgresql_where=text("state IN ('open', 'accepted')"),
        ),
        Index(
            "ix_assignments_due",
            "due_at",
            sqlite_where=text("state = 'open' AND due_at IS NOT NULL"),
            postgresql_where=text("state = 'open' AND due_at IS NOT NULL"),
        ),
    )

    id: int | None = columns.key()
    lead_id: int = columns.reference("leads.id")
    ordinal: int = columns.number(1)
    rep: str = columns.text()
    state: str = columns.text(default="open")
    at: int = columns.at()
    ended_at: int | None = columns.optional_at()
    reason: str = columns.text()  # JSON: why this rep, and for each rep passed over why not
    stage_change_id: int | None = columns.optional_reference("stage_changes.id")
    appointment: str | None = columns.optional_text()  # JSON: the time that rep and lead were invited to
    actor: str = columns.text(default="flow")  # who gave it: flow | sla | a person's name
    accept_by: int | None = columns.optional_at()  # until when the rep shall answer
    due_at: int | None = columns.optional_at()
    accepted_at: int | None = columns.optional_at()
    reminded_at: int | None = columns.optional_at()
    escalated_at: int | None = columns.optional_at()
    escalations: int = columns.number(0)  # managers who were told
    ended_by: str | None = columns.optional_text()  # flow | sla | feedback | a person's name
    ended_because: str | None = columns.optional_text()


class RefusedAnswer(SQLModel, table=True):
    """Answer links that were opened and could not be obeyed: a row for each reason, assignment and day."""

    __tablename__ = "refused_answers"

    why: str = columns.text_part()  # a key of models.rules.verdicts.WHY_NOT
    assignment_id: int = columns.id_part()  # 0 where the link does not say
    day: int = columns.id_part()  # days since 1970, UTC
    times: int = columns.number(1)
    first_at: int = columns.at()
    last_at: int = columns.at()


class WaitingLead(SQLModel, table=True):
    """A sales-qualified lead that no rep could take when it was last tried. `queue`: the pool, else the team."""

    __tablename__ = "waiting_leads"

    lead_id: int = columns.id_part()
    queue: str = columns.text(index=True)
    since: int = columns.at()
    reason: str = columns.text()  # JSON: why nobody could take it, and for each rep why not


class Message(SQLModel, table=True):
    """One intended e-mail: the outbox. docs/delivery.md defines the states and who may move them."""

    __tablename__ = "messages"
    __table_args__ = (
        Index(
            "ix_messages_ready",
            "kind",
            "next_attempt_at",
            "id",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_messages_leased",
            "lease_until",
            sqlite_where=text("state IN ('leased', 'sending')"),
            postgresql_where=text("state IN ('leased', 'sending')"),
        ),
        Index("ix_messages_lead", "lead_id"),
        Index("ix_messages_recipient", "recipient"),
        Index(
            "ix_messages_variant",
            "variant",
            sqlite_where=text("variant IS NOT NULL"),
            postgresql_where=text("variant IS NOT NULL"),
        ),
    )

    id: int | None = columns.key()
    idempotency_key: str = columns.text(unique=True)  # enrolment × step × intent: each intended message has one row
    kind: str = columns.text()  # nurture (at most once) | alert (at least once, same Message-ID)
    state: str = columns.text(default="queued")
    lead_id: int | None = columns.optional_reference("leads.id")
    enrolment_id: int | None = columns.optional_reference("enrolments.id")
    assignment_id: int | None = columns.optional_reference("assignments.id")
    recipient: str = columns.text()
    template: str = columns.text()
    variant: str | None = columns.optional_text()  # EXPERIMENT/VARIANT, where an experiment chose the template
    payload: str = columns.text()  # JSON object: what the template is given
    message_id: str = columns.text(unique=True)
    created_at: int = columns.at()
    next_attempt_at: int = columns.at()
    attempts: int = columns.number(0)
    attempted_at: int | None = columns.optional_at()  # when it was last taken to be sent, in programme time
    lease_owner: str | None = columns.optional_text()
    lease_until: int | None = columns.optional_at()
    sent_at: int | None = columns.optional_at()
    reply: str | None = columns.optional_text()  # the server's last words
    reason: str | None = columns.optional_text()  # why it is held, failed, cancelled or unknown
    bounced_at: int | None = columns.optional_at()  # when it came back undelivered; its state stays `sent`
    bounce: str | None = columns.optional_text()  # what was said then: `hard 5.1.1: …`


class MessageIntervention(SQLModel, table=True):
    """Append-only: what was done to a message from outside its sender, by whom, when and why."""

    __tablename__ = "message_interventions"

    id: int | None = columns.key()
    message_id: int = columns.reference("messages.id", index=True)
    at: int = columns.at()
    actor: str = columns.text()  # a person's name, or `relay log`
    deed: str = columns.text()  # retry | resolve sent | resolve not-sent | cancel
    from_state: str = columns.text()
    because: str = columns.text()


class SentCount(SQLModel, table=True):
    """How many messages left in one period of a limit (models.rules.limits). Kept from the current period on."""

    __tablename__ = "sent_counts"

    scope: str = columns.text_part()  # day | hour:DOMAIN
    starts_at: int = columns.id_part()  # an instant
    sent: int = columns.number(0)
    expected: int = columns.number(0)  # of a later period: messages that were put off into it


class SlowedDomain(SQLModel, table=True):
    """A domain that asked for less mail: no mail before `until`, then little, until it takes what it gets."""

    __tablename__ = "slowed_domains"

    domain: str = columns.text_part()
    level: int = columns.number()
    until: int = columns.at()
    reason: str = columns.text()  # the server's words


class ExperimentDecision(SQLModel, table=True):
    """The end of an experiment that its file asked to end by itself. Written once: who was first has decided."""

    __tablename__ = "experiment_decisions"

    experiment: str = columns.text_part()
    winner: str = columns.text()  # the variant that new leads get
    at: int = columns.at()  # later messages are no part of the experiment
    numbers: str = columns.text()  # JSON: counts per variant, differences with their intervals, alpha


class Suppression(SQLModel, table=True):
    """An address that gets no more mail. Only a keyed hash is kept, so that it survives erasure of the person."""

    __tablename__ = "suppressions"

    digest: bytes = columns.digest(primary_key=True)
    scope: str = columns.text(default="nurture")  # nurture | all
    reason: str = columns.text()
    at: int = columns.at()
