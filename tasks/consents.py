"""Sign-ups and opt-outs, from whatever source, into the consent record; and the confirmations that sign-ups need.

Decides nothing about consent (models.rules.consent does). Leads wait in the queue `consent`, where ingest puts those
who signed up or opted out. Sends nothing: the confirmation goes into the outbox, tasks.delivery sends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from sqlalchemy import Connection, bindparam, text

from models.queries import consents, messages, queue, standings, suppressions
from models.queries.consents import Act, NewConsent
from models.queries.messages import NewMessage
from models.rules import consent
from models.rules.consent import OPENS, Said
from models.rules.instants import instant
from models.rules.notification import COMMON_ATTRIBUTES
from models.rules.outbox import MessageKind
from models.rules.tokens import Confirmation, suppression_digest
from models.rules.values import as_text
from models.workspace import Workspace

QUEUE = "consent"
TEMPLATE = "opt_in_confirmation"
BATCH = 500


@task(name="collect-consents")
def collect_queued(workspace: str, now: int) -> dict[str, int]:
    """Collect in the workspace folder: the counts of `collect_consents`; at once where nobody waits."""
    opened = Workspace.open(Path(workspace))
    try:
        return dict(collect_consents(opened, now))
    finally:
        opened.database.close()


def collect_consents(workspace: Workspace, now: int) -> Counter[str]:
    """Write down what leads said by what they did, and ask those for a confirmation who have to give one.

    Counts: words (new rows of the record), asked (confirmations), silent (not asked: suppressed, or asked lately).
    """
    counts: Counter[str] = Counter(words=0, asked=0, silent=0)
    while True:
        with workspace.database.read() as connection:
            waiting = queue.read(connection, QUEUE, BATCH)
        if not waiting:
            return counts
        with workspace.database.write(durable=True) as connection:
            counts.update(_Round(workspace, connection, now).run(waiting))


def collect_among(workspace: Workspace, now: int, leads: Sequence[int]) -> Counter[str]:
    """The same for those of these leads who wait, before anybody else."""
    with workspace.database.read() as connection:
        waiting = queue.among(connection, QUEUE, leads)
    if not waiting:
        return Counter()
    with workspace.database.write(durable=True) as connection:
        return _Round(workspace, connection, now).run(waiting)


@dataclass(frozen=True)
class _Round:
    workspace: Workspace
    connection: Connection
    now: int

    def run(self, waiting: Sequence[tuple[int, int]]) -> Counter[str]:
        acts = consents.acts(self.connection, [lead for lead, _ in waiting], consent.ACTS)
        known = [act for act in acts if act.email is not None and act.occurred_at <= self.now]
        counts = Counter(words=consents.record(self.connection, [row for act in known for row in self._rows(act)]))
        newest = {act.email: act for act in known if act.email is not None and act.type in consent.SIGN_UPS}
        counts.update(self._ask(newest))
        # Who may be written to now may enter a sequence; who opted out leaves it.
        queue.enqueue(self.connection, "route", sorted({act.lead_id for act in known}))
        queue.done(self.connection, QUEUE, waiting)
        return counts

    def _rows(self, act: Act) -> Iterable[NewConsent]:
        assert act.email is not None
        digest = suppression_digest(self.workspace.secret_key, act.email)
        for said in consent.statements(act.dedupe, act.type, act.properties, self.workspace.settings.consent):
            evidence = {"source": act.type, **said.evidence}
            yield NewConsent(
                said.key, digest, said.topic, said.state, act.occurred_at, act.recorded_at, act.lead_id, evidence
            )

    def _ask(self, sign_ups: Mapping[str, Act]) -> Counter[str]:
        """Confirmation mails for those of the addresses (→ newest sign-up) that one waits for."""
        rules, secret = self.workspace.settings.consent, self.workspace.secret_key
        digests = {address: suppression_digest(secret, address) for address in sign_ups}
        said = consents.histories(self.connection, set(digests.values()))
        topics = {
            address: consent.open_requests(said.get(key, []), rules, self.now) for address, key in digests.items()
        }
        asking = [address for address, found in topics.items() if found]
        if not asking:
            return Counter()
        barred = suppressions.reasons(
            self.connection, secret, {(address, MessageKind.TRANSACTIONAL.value) for address in asking}
        )
        barred_addresses = {address for address, _ in barred} | self._asked_lately(asking)
        found = standings.read(self.connection, sorted({sign_ups[address].lead_id for address in asking}), "", self.now)
        mail = [
            self._confirmation(sign_ups[address], digests[address], topics[address], said[digests[address]], found)
            for address in asking
            if address not in barred_addresses
        ]
        asked = messages.intend(self.connection, mail, message_ids=self.workspace.message_ids, now=self.now)
        return Counter(asked=asked, silent=len(asking) - asked)

    def _asked_lately(self, addresses: Sequence[str]) -> set[str]:
        since = self.now - self.workspace.settings.consent.ask_again_after
        given = {"addresses": list(addresses), "template": TEMPLATE, "since": since}
        return set(self.connection.execute(_ASKED, given).scalars())

    def _confirmation(
        self,
        sign_up: Act,
        digest: bytes,
        topics: Sequence[str],
        said: Sequence[Said],
        found: Mapping[int, standings.Standing],
    ) -> NewMessage:
        assert sign_up.email is not None
        rules = self.workspace.settings.consent
        requested_at = max(one.at for one in said if one.state == "requested" and one.topic in topics)
        expires_at = requested_at + rules.confirm_within
        key = f"{TEMPLATE}:{digest.hex()}:{requested_at}"
        token = Confirmation(digest, self.workspace.message_ids.of(key), expires_at).token(self.workspace.tokens)
        base = (self.workspace.settings.base_url or "").rstrip("/")
        standing = found.get(sign_up.lead_id)
        lead = {**dict.fromkeys(COMMON_ATTRIBUTES), **(standing.attributes if standing else {}), "email": sign_up.email}
        if language := as_text(sign_up.properties.get("language")):
            lead["language"] = language  # of the form that was filled in
        payload = {
            "lead": lead,
            # The page that confirms says in its own words what else was asked for.
            "topics": [rules.topics.get(topic, topic) for topic in topics if topic != OPENS],
            "confirm_url": f"{base}/confirm/{token}",
            "confirm_until": instant(expires_at).astimezone(self.workspace.zone).date().isoformat(),
        }
        return NewMessage(
            idempotency_key=key,
            kind=MessageKind.TRANSACTIONAL,
            recipient=sign_up.email,
            template=TEMPLATE,
            payload=payload,
            next_attempt_at=self.now,
            lead_id=sign_up.lead_id,
        )


_ASKED = text(
    """
    SELECT recipient FROM messages
    WHERE recipient IN :addresses AND template = :template AND kind = 'transactional' AND created_at > :since
    """
).bindparams(bindparam("addresses", expanding=True))
