"""A mail as it would be made and sent now, for one lead, without making or sending it.

Decides which step or notification is meant. The payload comes from tasks.deeds and tasks.handover, the bytes from
tasks.composition: the same code that serves the outbox. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default

import orjson
from sqlalchemy import Connection

from models.documents import did_you_mean
from models.errors import UsageError
from models.queries import assignments, standings
from models.queries.assignments import Given
from models.queries.enrolments import Due
from models.queries.messages import Leased, NewMessage
from models.queries.standings import Standing
from models.rules.assignment import Assigned
from models.rules.instants import Micros
from models.rules.notification import SALES_NOTIFICATION
from models.rules.outbox import MessageKind
from models.rules.sequences import Advance, Deed, Send, Sequence, Step, Tell
from models.workspace import Workspace
from tasks import personal
from tasks.composition import Composer
from tasks.deeds import Maker, Taken
from tasks.handover import Desk
from tasks.rendering import Unrenderable, templates_of


@dataclass(frozen=True)
class Preview:
    """One mail, finished: what a reader sees, and the bytes that would go out."""

    name: str
    recipient: str
    subject: str
    html: str
    text: str
    content: bytes


def preview(
    connection: Connection, workspace: Workspace, wanted: str, lead_id: int, now: Micros, language: str | None = None
) -> list[Preview | Unrenderable]:
    """The mails that `wanted` means for the lead: SEQUENCE/STEP, SEQUENCE/FOLDER or `sales_notification`.

    Several for a step with an experiment: one for each variant. `language`: in the place of the lead's own. UsageError
    for a step that there is not, or that sends nothing.
    """
    found = standings.read(connection, [lead_id], workspace.scoring.name, now)
    standing = found[lead_id]
    if language is not None:
        standing = standing._replace(attributes={**standing.attributes, "language": language})
    if wanted == SALES_NOTIFICATION:
        messages = [_notification(connection, workspace, standing, now)]
    else:
        messages = list(_mails(connection, workspace, wanted, standing, now))
    settings = workspace.settings
    composer = Composer(
        templates_of(workspace), settings.sender, settings.base_url, workspace.secret_key, signing=workspace.tokens
    )
    return [_made(composer, message, workspace.message_ids.of(message.idempotency_key), now) for message in messages]


def read_back(name: str, recipient: str, content: bytes) -> Preview:
    """What is in the bytes of a mail, as a mail program finds it."""
    message = message_from_bytes(content, policy=default)
    html, plain = message.get_body(("html",)), message.get_body(("plain",))
    return Preview(
        name=name,
        recipient=recipient,
        subject=str(message["Subject"]),
        html="" if html is None else str(html.get_content()).replace("\r\n", "\n"),
        text="" if plain is None else str(plain.get_content()).replace("\r\n", "\n"),
        content=content,
    )


def _made(composer: Composer, message: NewMessage, message_id: str, now: Micros) -> Preview | Unrenderable:
    leased = Leased(
        id=0,
        idempotency_key=message.idempotency_key,
        kind=MessageKind(message.kind),
        lead_id=message.lead_id,
        recipient=message.recipient,
        template=message.template,
        payload=orjson.dumps(message.payload).decode(),
        message_id=message_id,
        attempts=0,
        lease_until=now,
    )
    letter = composer.compose(leased, now)
    return (
        letter if isinstance(letter, Unrenderable) else read_back(message.template, message.recipient, letter.content)
    )


def _mails(
    connection: Connection, workspace: Workspace, wanted: str, standing: Standing, now: Micros
) -> Iterator[NewMessage]:
    sequence, index = _step(workspace, wanted)
    node = sequence.nodes[index]
    deeds: list[Deed] = []
    if node.step.send is not None:
        deeds.append(Send(index, node.key, node.step.send, node.step.invite))
    elif node.step.experiment is not None:
        variants = node.step.experiment.variants
        deeds += [Send(index, node.key, one.send, variant=one.name) for one in variants]
    elif node.step.notify is not None:
        deeds.append(Tell(node.key, node.step.notify))
    if standing.email is None:
        raise UsageError(f"--lead: {standing.lead_id} has no e-mail address")
    folders = [deed.folder for deed in deeds if isinstance(deed, Send)]
    facts = personal.read(connection, workspace, templates_of(workspace), {standing.lead_id: folders}, now)
    given = assignments.latest(connection, [standing.lead_id]).get(standing.lead_id)
    due = Due(0, standing.lead_id, sequence.name, 1, 0, index, now)
    taken = Taken(due, standing, Advance(tuple(deeds), index, None))
    maker = Maker(workspace, now, facts)
    yield from maker.mails(taken, given)
    yield from maker.notices(taken)


def _step(workspace: Workspace, wanted: str) -> tuple[Sequence, int]:
    """The sequence and the index of the step that `wanted` names by its number, its id or what it sends."""
    name, _, step = wanted.partition("/")
    sequence = workspace.sequences.get(name)
    if sequence is None:
        known = [*workspace.sequences, SALES_NOTIFICATION]
        raise UsageError(f"found {wanted!r}{did_you_mean(name, known)}; allowed: SEQUENCE/STEP, {SALES_NOTIFICATION}")
    sending = {index: _sent(node.step) for index, node in enumerate(sequence.nodes) if _sent(node.step)}
    for index, folders in sending.items():
        if step in {sequence.nodes[index].key, *folders} or (not step and len(sending) == 1):
            return sequence, index
    allowed = [f"{name}/{sequence.nodes[index].key} ({', '.join(folders)})" for index, folders in sending.items()]
    raise UsageError(f"found {wanted!r}; steps that send: {', '.join(allowed) or 'none'}")


def _sent(step: Step) -> list[str]:
    if step.send is not None:
        return [step.send]
    if step.experiment is not None:
        return [one.send for one in step.experiment.variants]
    return [] if step.notify is None else [step.notify.template]


def _notification(connection: Connection, workspace: Workspace, standing: Standing, now: Micros) -> NewMessage:
    """The notification that a salesperson would get about the lead now: whoever has it, else the first of the team."""
    lead_id, reps = standing.lead_id, workspace.team.reps
    given = assignments.latest(connection, [lead_id]).get(lead_id)
    rep = next((one for one in reps if given is not None and one.email == given.rep), reps[0])
    if given is None or not given.runs:  # as if it were handed over now
        given = Given(0, lead_id, 1 if given is None else given.ordinal + 1, rep.email, "open", now)
    desk = Desk(connection, workspace, now, {lead_id: standing})
    outcome = Assigned(rep, "a preview: nothing was assigned", ())
    return NewMessage(
        idempotency_key=f"preview:{lead_id}",
        kind=MessageKind.ALERT,
        recipient=rep.email,
        template=SALES_NOTIFICATION,
        payload=desk.notification(given, outcome, desk.facts([lead_id])),
        next_attempt_at=now,
        lead_id=lead_id,
    )
