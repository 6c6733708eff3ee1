"""The answer to a question that a mail asked: an attribute of the lead, and an activity that rules can count.

Decides nothing: what comes by a signed link is stored as every record is, in one transaction. Called by web.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from models.queries import intakes
from models.queries.activities import Touchpoints
from models.rules.instants import Micros
from models.rules.records import ActivityFacts, Intake, LeadFacts, message_key
from models.rules.tokens import Answer
from models.rules.touchpoints import Touchpoint

SOURCE = "warmline"
PROFILE_ANSWER = "profile_answer"

_ASKED = text(
    """
    SELECT i.value FROM messages m JOIN identities i ON i.lead_id = m.lead_id AND i.kind = 'email'
    WHERE m.message_id = :message_id ORDER BY i.value = lower(m.recipient) DESC, i.value LIMIT 1
    """
)


def record(connection: Connection, answer: Answer, now: int, express_since: int | None = None) -> bool:
    """Store the answer as said at `now`; False if the message or its lead is gone. The same twice adds nothing.

    `express_since`: as in models.queries.intakes.Terms; None: nobody is in a hurry.
    """
    address = connection.execute(_ASKED, {"message_id": answer.message_id}).scalar()
    if address is None:
        return False
    dedupe = message_key(SOURCE, f"answer:{answer.message_id}:{answer.attribute}:{answer.value}")
    assert dedupe is not None
    act = Touchpoint(PROFILE_ANSWER, answer.attribute, medium="email", content=answer.value)
    intake = Intake(
        0,
        (("email", str(address)),),
        (ActivityFacts(dedupe, Micros(now), act, None),),
        LeadFacts({answer.attribute: answer.value}, Micros(now)),
    )
    intakes.store(connection, [intake], intakes.Terms(SOURCE, now, now, express_since), Touchpoints())
    return True
