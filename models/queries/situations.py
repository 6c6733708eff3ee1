"""What is known of leads on their way through a sequence: the facts that its exits, branches and steps ask for.

Decides nothing (models.rules.sequences does). A handful of statements for a batch, and only those that some sequence in
it has a question for. Asked at each step (tasks.nurture), when a lead is routed, and when a mail is sent (permissions).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from models.queries import acts, ratings, staging, standings
from models.queries.standings import Standing
from models.rules.conditions import Facts, further_models
from models.rules.scoring.model import Subject
from models.rules.sequences import Act, Did
from models.rules.sequences import Sequence as Programme
from models.rules.suspicion import signs_of


@dataclass(frozen=True, slots=True)
class Way:
    """An enrolment, as far as the facts about it ask."""

    id: int
    lead_id: int
    version_id: int
    entered_at: int


def facts_of(
    connection: Connection,
    ways: Sequence[Way],
    sequences: Mapping[int, Programme],
    found: Mapping[int, Standing],
    models: Mapping[str, Subject],
    now: int,
) -> dict[int, Facts]:
    """Enrolment → what the conditions of its sequence see at `now`.

    `sequences`: by version; `found`: the standing of each lead; `models`: name of each scoring model → what it scores.
    """
    if not ways:
        return {}
    used = [sequences[key] for key in sorted({way.version_id for way in ways})]
    asked = frozenset[str]().union(*(sequence.attributes() for sequence in used))
    attributes = standings.derived(connection, [found[key] for key in {way.lead_id for way in ways}], asked, now)
    named = further_models(condition for sequence in used for _, condition in sequence.conditions()[1:])
    rated = ratings.read(connection, list(attributes), {name: models[name] for name in named if name in models}, now)
    done = _acts(connection, ways, sequences, now)
    return {
        way.id: found[way.lead_id]
        .facts(attributes[way.lead_id], rated.get(way.lead_id))
        ._replace(acts=done.get(way.id, ()), entered_at=way.entered_at, now=now)
        for way in ways
    }


_ABOUT_MAILS = """
    SELECT a.lead_id, a.occurred_at, a.properties, t.type, {fields} FROM activities a
    JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.machine = 0 AND a.occurred_at > {mark} AND a.occurred_at <= {mark} AND {types} AND {among}
    ORDER BY a.lead_id, a.occurred_at
"""


def _acts(
    connection: Connection, ways: Sequence[Way], sequences: Mapping[int, Programme], now: int
) -> dict[int, list[Act]]:
    """Enrolment → the acts that its sequence asks for: the newest at each touchpoint, and those about its mails."""
    questions = {key: (*sequence.exits, *sequence.questions) for key, sequence in sequences.items()}
    asked = [did for way in ways for did in questions[way.version_id]]
    oldest = -1 if any(did.since == "ever" for did in asked) else min(way.entered_at for way in ways)
    leads = sorted({way.lead_id for way in ways})
    by_lead = acts.newest(connection, leads, asked, oldest, now)
    about = [way for way in ways if any(did.mail for did in questions[way.version_id])]
    found = {way.id: by_lead[way.lead_id] for way in ways if way.lead_id in by_lead}
    if about:
        mails = [did for did in asked if did.mail]
        for key, told in _about_mails(connection, about, mails, (oldest, now)).items():
            found[key] = [*found.get(key, ()), *told]
    return found


def _about_mails(
    connection: Connection, ways: Sequence[Way], asked: Collection[Did], times: tuple[int, int]
) -> dict[int, list[Act]]:
    """Enrolment → acts about a mail that it sent: by the mail's Message-ID in the act's properties, whatever a source
    calls it."""
    leads = sorted({way.lead_id for way in ways})
    mails = sent(connection, leads)
    known: dict[int, dict[str, str]] = {
        way.id: {_local(message): folder for folder, message in mails.get(way.id, ())} for way in ways
    }
    by_lead: dict[int, list[Way]] = defaultdict(list)
    for way in ways:
        by_lead[way.lead_id].append(way)
    found: dict[int, list[Act]] = defaultdict(list)
    for lead_id, at, properties, kind, *fields in acts.rows(connection, _ABOUT_MAILS, asked, leads, times):
        message = signs_of(properties).message
        for way in by_lead[lead_id]:
            if message is not None and (folder := known[way.id].get(_local(message))) is not None:
                found[way.id].append(Act(kind, at, acts.touchpoint(kind, fields), folder))
    return found


_SENT = "SELECT enrolment_id, template, message_id FROM messages WHERE kind = 'nurture' AND {among} ORDER BY id"


def sent(connection: Connection, lead_ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """Enrolment → (folder, Message-ID) of each mail that was ever made for it, sent or not."""
    made: dict[int, list[tuple[str, str]]] = defaultdict(list)
    if lead_ids:
        among, ids = staging.among(connection, "lead_id", lead_ids)
        for enrolment, folder, message in staging.rows(connection, _SENT.format(among=among), ids):
            if enrolment is not None:
                made[enrolment].append((folder, message))
    return made


def _local(message_id: str) -> str:
    return message_id.strip().strip("<>").partition("@")[0].lower()
