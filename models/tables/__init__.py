"""The SQLModel tables, by noun. Importing this package registers them all with `SQLModel.metadata`."""

from models.tables.actions import ActionTaken, DisabledEndpoint, WebhookDelivery
from models.tables.audiences import AudienceExport, AudienceMember
from models.tables.behaviour import Activity, Cost, Deal, Import, MachineMark, RejectedRecord, Touchpoint
from models.tables.collection import CollectorKey, ReceivedBatch, ReceivedCount
from models.tables.consents import Consent
from models.tables.people import Account, AttributeChange, Identity, Lead, Merge, MergeConflict
from models.tables.programme import (
    Assignment,
    Enrolment,
    ExperimentDecision,
    Message,
    MessageIntervention,
    RefusedAnswer,
    SentCount,
    SlowedDomain,
    StageChange,
    StageDue,
    Suppression,
    WaitingLead,
)
from models.tables.returned_mail import Refusal, ReturnedAddress, ReturnedMail
from models.tables.scoring import Activation, Lease, ProgrammeVersion, QueuedWork, Score, ScoreChange, Watermark
from models.tables.tracking import Link

__all__ = [
    "Account",
    "ActionTaken",
    "Activation",
    "Activity",
    "Assignment",
    "AttributeChange",
    "AudienceExport",
    "AudienceMember",
    "CollectorKey",
    "Consent",
    "Cost",
    "Deal",
    "DisabledEndpoint",
    "Enrolment",
    "ExperimentDecision",
    "Identity",
    "Import",
    "Lead",
    "Lease",
    "Link",
    "MachineMark",
    "Merge",
    "MergeConflict",
    "Message",
    "MessageIntervention",
    "ProgrammeVersion",
    "QueuedWork",
    "ReceivedBatch",
    "ReceivedCount",
    "Refusal",
    "RefusedAnswer",
    "RejectedRecord",
    "ReturnedAddress",
    "ReturnedMail",
    "Score",
    "ScoreChange",
    "SentCount",
    "SlowedDomain",
    "StageChange",
    "StageDue",
    "Suppression",
    "Touchpoint",
    "WaitingLead",
    "Watermark",
    "WebhookDelivery",
]
