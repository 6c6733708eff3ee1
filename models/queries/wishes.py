"""What a person asks of us by a signed link: no more mail, other topics, or yes to a sign-up. In one transaction.

Decides what belongs to such a wish: the suppression, the consent record with its evidence, and the activity by which
scoring and sequences hear of it, stored the way every activity is. Called by web and by whoever reads returned mail.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection, text

from models.queries import consents, intakes, queue, staging, suppressions
from models.queries.activities import Touchpoints
from models.queries.consents import NewConsent
from models.queries.suppressions import OWN_WISH, NewSuppression
from models.rules import consent
from models.rules.consent import EVERYTHING, ConsentRules
from models.rules.instants import Micros
from models.rules.records import ActivityFacts, Intake, message_key
from models.rules.tokens import suppression_digest
from models.rules.touchpoints import Touchpoint

SOURCE = "warmline"


@dataclass(frozen=True)
class Wish:
    """Who asks: the address by its hash, and the mail whose link was used. `evidence`: pieces of consent.EVIDENCE."""

    digest: bytes
    message_id: str | None
    at: int
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Addressee:
    """Whom the mail went to. `address` is an identity of the lead, as it stands."""

    lead_id: int
    address: str


def unsubscribe(
    connection: Connection, secret: bytes, wish: Wish, how: str = "by link", address: str | None = None
) -> bool:
    """No more nurture mail to the address; False if that was so already. `how` ends the sentence "unsubscribed …".

    `secret` is the key of the suppression hashes. `address`: in plain, where no mail of ours names it.
    """
    _one_at_a_time(connection, wish.digest)
    known = consents.histories(connection, [wish.digest]).get(wish.digest, [])
    # Asking twice adds nothing; a topic that was granted since the last wish makes it a new one.
    last = max(known, key=lambda said: said.at, default=None)
    again = last is not None and (last.topic, last.state) == (EVERYTHING, "withdrawn")
    reason = f"{OWN_WISH} {how}"
    new = suppressions.suppress(connection, [NewSuppression(wish.digest, reason, wish.at)])
    if again:
        return bool(new)
    addressee = _addressee(connection, secret, wish)
    if addressee is None and address is not None:
        addressee = _owner(connection, address)
    _write(connection, wish, addressee, "unsubscribe", [(EVERYTHING, "withdrawn")])
    return True


def confirm(connection: Connection, secret: bytes, rules: ConsentRules, wish: Wish) -> list[str]:
    """Grant the topics that wait for a confirmation by this address; the topics. Empty: nothing waits (any more).

    Who confirms takes back an opt-out of their own.
    """
    _one_at_a_time(connection, wish.digest)
    known = consents.histories(connection, [wish.digest]).get(wish.digest, [])
    topics = consent.open_requests(known, rules, wish.at)
    if topics:
        suppressions.lift(connection, wish.digest)
        granted = [(topic, "granted") for topic in topics]
        _write(connection, wish, _addressee(connection, secret, wish), "opt_in_confirmed", granted)
    return topics


def take_down(connection: Connection, secret: bytes, wish: Wish, address: str, said: Sequence[tuple[str, str]]) -> None:
    """Write down what somebody told one of our people: (topic, state). A grant takes back the person's own opt-out.

    `address`: in plain, because no mail of ours names it here.
    """
    _one_at_a_time(connection, wish.digest)
    addressee = _owner(connection, address)
    granted = [pair for pair in said if pair[1] == "granted"]
    withdrawn = [pair for pair in said if pair[1] == "withdrawn"]
    if withdrawn:
        everything = any(topic == EVERYTHING for topic, _ in withdrawn)
        if everything:
            suppressions.suppress(connection, [NewSuppression(wish.digest, f"{OWN_WISH} by word of mouth", wish.at)])
        _write(connection, wish, addressee, "unsubscribe" if everything else consent.PREFERENCE, withdrawn)
    if all(topic == consent.OPENS for topic, _ in granted):  # that allows no mail
        if granted:
            _write(connection, wish, addressee, consent.PREFERENCE, granted)
        return
    suppressions.lift(connection, wish.digest)
    _write(connection, wish, addressee, "newsletter_signup", granted)


def was_confirmed(connection: Connection, wish: Wish) -> bool:
    """True if the link of this very mail has granted something before: who clicks twice is thanked twice."""
    said = (word for word in consents.words(connection, [wish.digest]) if word.state == "granted")
    return any(word.evidence.get("message_id") == wish.message_id for word in said)


def tells_of_opening(connection: Connection, digest: bytes, now: int) -> bool:
    """Whether the person grants that we see whether they opened a mail."""
    return consent.is_granted(consents.histories(connection, [digest]).get(digest, ()), consent.OPENS, now)


def prefer(
    connection: Connection,
    secret: bytes,
    rules: ConsentRules,
    wish: Wish,
    wanted: Collection[str],
    opens: bool | None = None,
) -> list[tuple[str, str]]:
    """Write down that exactly these topics are wanted; what changed, as (topic, state). `opens`: whether we may see
    that a mail was opened; None: that was not asked.

    None at all is the wish to unsubscribe. Any of them takes an earlier such wish back: who opens the page by the link
    of a mail reads that mailbox, so that this counts as confirmed.
    """
    _one_at_a_time(connection, wish.digest)
    known = consents.histories(connection, [wish.digest]).get(wish.digest, [])
    chosen = [topic for topic in rules.topics if topic in wanted]
    if not chosen:
        unsubscribe(connection, secret, wish, "on the preference page")
        return [(EVERYTHING, "withdrawn")]
    changed: list[tuple[str, str]] = [*consent.changes(known, chosen, rules, wish.at)]
    returned = suppressions.lift(connection, wish.digest)
    addressee = _addressee(connection, secret, wish)
    granted = [(topic, state) for topic, state in changed if state == "granted"]
    if returned or (granted and len(granted) == len(chosen)):
        _write(connection, wish, addressee, "newsletter_signup", [(topic, "granted") for topic in chosen])
        changed = [(topic, state) for topic, state in changed if state == "withdrawn"]
    if opens is not None and opens != consent.is_granted(known, consent.OPENS, wish.at):
        changed.append((consent.OPENS, "granted" if opens else "withdrawn"))
    if changed:
        _write(connection, wish, addressee, consent.PREFERENCE, changed)
    return [*granted, *((topic, state) for topic, state in changed if state == "withdrawn")]


def standing_choices(connection: Connection, rules: ConsentRules, digest: bytes, now: int) -> list[consent.Choice]:
    """The topics as the preference page shows them; all off where the person asked for no more mail."""
    known = consents.histories(connection, [digest]).get(digest, [])
    found = consent.choices(known, rules, now)
    left = (suppressions.reason(connection, digest) or "").startswith(OWN_WISH)
    return [one._replace(is_on=one.is_on and not left) for one in found]


def _write(
    connection: Connection, wish: Wish, addressee: Addressee | None, act: str, said: Sequence[tuple[str, str]]
) -> None:
    dedupe = message_key(SOURCE, f"{act}:{wish.digest.hex()}:{wish.at}")
    assert dedupe is not None
    rows = [
        NewConsent(
            key=consent.key_of(dedupe, topic, state),
            digest=wish.digest,
            topic=topic,
            state=state,
            at=wish.at,
            recorded_at=wish.at,
            lead_id=None if addressee is None else addressee.lead_id,
            evidence=consent.evidence({**wish.evidence, "message_id": wish.message_id}),
        )
        for topic, state in said
    ]
    consents.record(connection, rows)
    if addressee is not None:
        properties = {
            "topics": [topic for topic, _ in said if topic != EVERYTHING],
            "states": sorted({state for _, state in said}),
            "confirmed": True,
            "message_id": wish.message_id,
            "source": wish.evidence.get("source", ""),
        }
        packed = orjson.dumps(properties, option=orjson.OPT_SORT_KEYS).decode()
        facts = ActivityFacts(dedupe, Micros(wish.at), Touchpoint(act, medium="email"), packed)
        intake = Intake(0, (("email", addressee.address),), (facts,))
        intakes.store(connection, [intake], intakes.Terms(SOURCE, wish.at, wish.at), Touchpoints())
        queue.enqueue(connection, "route", [addressee.lead_id])


_OWNER = text("SELECT lead_id FROM identities WHERE kind = 'email' AND value = :address")
_SENT_TO = text(
    """
    SELECT i.value, i.lead_id FROM messages m JOIN identities i ON i.lead_id = m.lead_id
    WHERE m.message_id = :message_id AND i.kind = 'email'
    """
)


def _owner(connection: Connection, address: str) -> Addressee | None:
    """The lead whose address it is."""
    lead = connection.execute(_OWNER, {"address": address}).scalar()
    return None if lead is None else Addressee(int(lead), address)


def _addressee(connection: Connection, secret: bytes, wish: Wish) -> Addressee | None:
    """The lead that the mail went to, if it is still there and the address still its own."""
    if wish.message_id is None:
        return None
    for value, lead_id in connection.execute(_SENT_TO, {"message_id": wish.message_id}):
        if suppression_digest(secret, value) == wish.digest:
            return Addressee(lead_id, value)
    return None


def _one_at_a_time(connection: Connection, digest: bytes) -> None:
    """Two clicks at once must not write two activities."""
    if not staging.is_sqlite(connection):
        number = int.from_bytes(digest[:8], "big", signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
