"""Mails to our own people about a lead: who of those named is found, and what the mail tells.

Decides nothing about when one is sent: a step `notify` of a sequence and an action of lifecycle.yaml do. The caller
gives them to the outbox, in the transaction of what asks for them.
"""

from __future__ import annotations

from models.queries.standings import Standing
from models.rules.notices import OWNER, Notify
from models.rules.notification import SequenceNotice
from models.rules.team import Rep
from tasks import contacts


def recipient(notify: Notify, reps: list[Rep], standing: Standing, had_by: str | None) -> tuple[str, str]:
    """(name, address) of the first of `to` who is found; empty texts where nobody is. `had_by`: the lead's last rep."""
    for who in notify.to:
        owners = (standing.owner, had_by, standing.account_owner) if who == OWNER else (who,)
        for called in filter(None, owners):
            rep = next((rep for rep in reps if rep.is_called(called)), None)
            if rep is not None:
                return rep.name, rep.email
            if "@" in called:
                return called, called.strip()
    return "", ""


def notice(notify: Notify, standing: Standing, name: str, sequence: str, action: str = "") -> SequenceNotice:
    """What the mail tells. `sequence` or `action`: what it comes from, in words."""
    made = SequenceNotice(
        rep_name=name,
        lead_name=contacts.name_of(standing),
        position=contacts.position_of(standing),
        because=notify.because,
        sequence=sequence,
        stage=standing.stage.replace("_", "-"),
        score=standing.total,
        contact=contacts.contact_of(standing),
        lead=dict(standing.attributes),
    )
    if action:
        made["action"] = action
    return made
