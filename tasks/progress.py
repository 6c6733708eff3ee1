"""Everything that one look at due enrolments has to know, read for a batch: who may go on, why others end, what holds.

Decides nothing (models.rules.sequences does). tasks.nurture takes the steps; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection

from models.queries import assignments, consents, enrolments, experiments, situations, standings, suppressions
from models.queries.assignments import Given
from models.queries.enrolments import Due
from models.queries.situations import Way
from models.queries.standings import Standing
from models.rules.conditions import Facts
from models.rules.instants import Micros
from models.rules.outbox import MessageKind
from models.rules.sequences import APPOINTMENT, Enrolled, Situation, next_entry
from models.rules.sequences import Sequence as Programme
from models.rules.zones import zone_of
from models.workspace import Workspace


@dataclass(frozen=True)
class Progress:
    """What is known of the enrolments of a batch."""

    standings: Mapping[int, Standing]
    """By lead."""
    ending: Mapping[int, str]
    """Enrolment → why it ends now."""
    situations: Mapping[int, Situation]
    """By enrolment."""
    appointments: Mapping[int, Given]
    """Lead → its running assignment, where the appointment is still to come."""


def read(
    connection: Connection, workspace: Workspace, due: Sequence[Due], sequences: Mapping[int, Programme], now: Micros
) -> Progress:
    """Ask for a batch what its sequences ask. `sequences`: by version."""
    leads = sorted({one.lead_id for one in due})
    found = standings.read(connection, leads, workspace.scoring.name, now)
    ways = [Way(one.id, one.lead_id, one.version_id, one.entered_at) for one in due]
    models = {name: model.of for name, model in workspace.models.items()}
    facts = situations.facts_of(connection, ways, sequences, found, models, now)
    ending = _ending(connection, workspace, due, sequences, found, facts, now)
    going = [one for one in due if one.id not in ending]
    given = _appointments(connection, going, sequences, now)
    known = _situations(connection, workspace, going, sequences, found, facts, given, now)
    return Progress(found, ending, known, given)


def _ending(
    connection: Connection,
    workspace: Workspace,
    due: Sequence[Due],
    sequences: Mapping[int, Programme],
    found: Mapping[int, Standing],
    facts: Mapping[int, Facts],
    now: Micros,
) -> dict[int, str]:
    addresses = {(email, MessageKind.NURTURE.value) for one in found.values() if (email := one.email)}
    suppressed = suppressions.reasons(connection, workspace.secret_key, addresses)
    rules = workspace.settings.consent
    topics = {one.id: rules.topic(sequences[one.version_id].topic) for one in due}
    wanted = {(email, topics[one.id]) for one in due if (email := found[one.lead_id].email)}
    refused = consents.refusals(connection, workspace.secret_key, rules, wanted, now)
    why: dict[int, str] = {}
    for one in due:
        standing = found[one.lead_id]
        wish = suppressed.get((standing.email, MessageKind.NURTURE.value)) if standing.email else None
        reason = sequences[one.version_id].why_exit(facts[one.id])
        if standing.excluded is not None:
            reason = f"excluded: {standing.excluded}"
        elif not reason and wish:
            reason = f"suppressed: {wish}"
        elif not reason and standing.email:
            reason = refused.get((standing.email, topics[one.id]), "")
        if reason:
            why[one.id] = reason
    return why


def _appointments(
    connection: Connection, going: Iterable[Due], sequences: Mapping[int, Programme], now: int
) -> dict[int, Given]:
    asking = sorted({one.lead_id for one in going if _asks_for_appointment(sequences[one.version_id])})
    return {
        lead_id: given
        for lead_id, given in assignments.latest(connection, asking).items()
        if given.runs and given.appointment is not None and given.appointment.starts_at > now
    }


def _asks_for_appointment(sequence: Programme) -> bool:
    untils = (node.step.until for node in sequence.nodes)
    return sequence.invites or any(until is not None and until.date == APPOINTMENT for until in untils)


def _situations(
    connection: Connection,
    workspace: Workspace,
    going: Sequence[Due],
    sequences: Mapping[int, Programme],
    found: Mapping[int, Standing],
    facts: Mapping[int, Facts],
    given: Mapping[int, Given],
    now: Micros,
) -> dict[int, Situation]:
    leads = sorted({one.lead_id for one in going})
    tests = any(node.step.experiment for one in going for node in sequences[one.version_id].nodes)
    chosen = experiments.chosen(connection, leads) if tests else {}
    winners = experiments.winners(connection) if tests else {}
    sent = situations.sent(connection, leads)
    sends_on = [one.lead_id for one in going if any(node.step.enrol for node in sequences[one.version_id].nodes)]
    past = enrolments.of_leads(connection, sends_on) if sends_on else {}
    known: dict[int, Situation] = {}
    for one in going:
        appointment = given[one.lead_id].appointment if one.lead_id in given else None
        sequence = sequences[one.version_id]
        enterable = _enterable(workspace, sequence, one, facts[one.id], past.get(one.lead_id, []), now)
        known[one.id] = Situation(
            facts=facts[one.id],
            zone=zone_of(found[one.lead_id].attributes, workspace.zone),
            lead_key=one.lead_id,
            rounds=orjson.loads(one.rounds or "{}"),
            appointment_at=None if appointment is None else appointment.starts_at,
            enterable=enterable,
            beside=frozenset(name for name in enterable if sequence.alongside or workspace.sequences[name].alongside),
            chosen=chosen.get(one.lead_id, {}),
            winners=winners,
            sent=frozenset(folder for folder, _ in sent.get(one.id, ())),
        )
    return known


def _enterable(
    workspace: Workspace, sequence: Programme, due: Due, facts: Facts, past: Sequence[Enrolled], now: Micros
) -> dict[str, int]:
    """The sequences that this one sends on to and the lead may enter → the number of the entry."""
    found: dict[str, int] = {}
    for node in sequence.nodes:
        name = node.step.enrol
        if name is None or name in found or name not in workspace.sequences:
            continue
        other = workspace.sequences[name]
        # Whoever runs in a third one that is no neighbour of the other stays there: one at a time.
        busy = not other.alongside and any(
            one.runs and one.id != due.id and _is_exclusive(workspace, one.sequence) for one in past
        )
        if not busy and other.admits(facts) and (entry := next_entry(other, past, now)) is not None:
            found[name] = entry
    return found


def _is_exclusive(workspace: Workspace, name: str) -> bool:
    return name not in workspace.sequences or not workspace.sequences[name].alongside
