"""What mail providers tell of mails, and what follows: the same as from mail that came back, without the detour.

Decides which mail of ours an event is about: by our Message-ID, else by the provider's own id, which its server said
when it took the mail. Refusals, complaints and wishes are kept among the returned mails and followed at once; opens,
clicks and deliveries are activities. Called by tasks.understanding, in the transaction that stores the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.queries import identities, returned_mail
from models.queries.returned_mail import Arrived, Waiting
from models.rules.hooks.mail_events import Act, MailEvent
from models.rules.hooks.reading import KNOWN, TRACED, Witnessed, mail_event
from models.rules.instants import Micros
from models.rules.mail import names_by_domain
from models.rules.records import RecordError
from models.rules.returned_mail.consequences import Attribution, SentMail
from tasks.returned_mail import Reader, Understood, Witness, follow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.workspace import Workspace
    from tasks import understanding

WAY = "hook"
SHORTEST_ID = 8
"""Characters of a provider's id that can hardly stand in a server's reply by chance."""


def look_up(connection: Connection, workspace: Workspace, items: Sequence[Any]) -> Mapping[str, Any]:
    """For the events of a batch: the mails of ours that they are about, and which addresses leads have."""
    events = list(_events(items))
    if not events:
        return {}
    wanted = {("email", event.recipient) for event in events}
    known = {value for _, value in identities.known_among(connection, wanted)}
    return {TRACED: traced(connection, workspace, events), KNOWN: known}


def _events(items: Iterable[Any]) -> Iterator[MailEvent]:
    for item in items:
        if not (isinstance(item, dict) and item.keys() == {"provider", "event"}):
            return  # another kind of hook: all items of a batch are alike
        try:
            yield mail_event(item, Micros(0))
        except RecordError:
            continue  # told when it is read


def traced(connection: Connection, workspace: Workspace, events: Sequence[MailEvent]) -> dict[bytes, SentMail]:
    """The digest of an event → the mail of ours that it is about."""
    domains = workspace.message_domains
    ours = {
        event.digest: [other for name in event.names for other in names_by_domain(name, domains)] for event in events
    }
    sent = returned_mail.sent(connection, {name for names in ours.values() for name in names})
    found = {
        key: next(sent[name] for name in names if name in sent)
        for key, names in ours.items()
        if not sent.keys().isdisjoint(names)
    }
    left = [(event, ids) for event in events if event.digest not in found and (ids := _ids(event))]
    handed = returned_mail.handed_over(connection, {event.recipient for event, _ in left})
    for event, ids in left:
        for reply, mail in handed.get(event.recipient, ()):
            if any(one in reply for one in ids):
                found[event.digest] = mail
    return found


def _ids(event: MailEvent) -> list[str]:
    """What the provider calls the mail: some make a Message-ID of it."""
    return [one for one in (event.provider_id, *(name.strip("<>") for name in event.names)) if len(one) >= SHORTEST_ID]


def follow_up(connection: Connection, workspace: Workspace, items: Sequence[understanding.Understood], now: int) -> int:
    """Do what events lead to beyond an activity; how many of them, not known before, are no activity at all."""
    told = [one.beyond for one in items if isinstance(one.beyond, Witnessed)]
    doubts = [
        (about.id, event.at, f"taken by the server: told by {event.provider}")
        for event, about, _ in told
        if event.act is not Act.SENT and about is not None and about.state == "unknown"
    ]
    returned_mail.resolve(connection, doubts)
    grave = {one.event.digest: one for one in told if one.mail is not None}
    if not grave:
        return 0
    arrived = [Arrived(digest, one.event.content()) for digest, one in grave.items()]
    news = returned_mail.keep(connection, arrived, WAY, now)
    if not news:
        return 0
    open_ = returned_mail.standing_open(connection, grave, WAY)
    strangers = [one.event.recipient for digest, one in grave.items() if digest in open_ and one.about is None]
    leads = identities.known_among(connection, {("email", address) for address in strangers})
    reader = Reader(workspace.settings.bounces, workspace.secret_key, workspace.message_domains, workspace.tokens)
    known = [
        _understood(key, grave[digest], ("email", grave[digest].event.recipient) in leads, now)
        for digest, key in sorted(open_.items(), key=lambda item: item[1])
    ]
    follow(connection, reader, known, now)
    return news


def _understood(key: int, one: Witnessed, is_lead: bool, now: int) -> Understood:
    event = one.event
    about = one.about or SentMail(
        event.provider_id or event.key[:200],
        0,
        "other",
        "sent",
        None,
        event.recipient,
        "",
        event.recipient if is_lead else None,
    )
    witness = Witness(event.provider, min(event.at, now), about)
    mail = one.mail or event.returned()
    return Understood(Waiting(key, b"", (), now), mail, Attribution(None), None, (), witness)
