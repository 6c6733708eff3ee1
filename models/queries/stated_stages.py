"""Stages that sources say: refused before a record is stored, made with it, in one transaction.

Decides which lead a record moves (the one that its strongest known identity names) and locks it, so that nobody moves
it between the two. Called by tasks.intake (`refusals`) and models.queries.intakes (`make`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import Connection

from models.queries import stages, staging
from models.queries.stages import StageMove
from models.rules.lifecycle import Stage
from models.rules.records import RANK, Identity, Intake
from models.rules.stated_stages import STATED, hops

ACTOR = "import"
_WHO = "SELECT kind, value, lead_id FROM identities WHERE value {among}"
_WHERE = "SELECT id, stage, attributes FROM leads WHERE id {among}"


def refusals(connection: Connection, intakes: Sequence[Intake]) -> dict[int, str]:
    """Place of each record that moves its lead against the table of legal moves → why it is refused."""
    asking = {place: one for place, one in enumerate(intakes) if one.lead is not None and one.lead.stage is not None}
    if not asking:
        return {}
    known = _known(connection, list(asking.values()))
    where = _stages(connection, sorted(set(known.values())))
    found: dict[int, str] = {}
    for place, one in asking.items():
        who = sorted(one.identities, key=lambda identity: RANK.index(identity[0]))
        lead: int | Identity = next((known[identity] for identity in who if identity in known), None) or who[0]
        stage, said = where.get(lead, (Stage.SUBSCRIBER, None))
        assert one.lead is not None and one.lead.stage is not None
        if said == one.lead.stage:
            continue
        way = hops(stage, one.lead.stage)
        if isinstance(way, str):
            found[place] = way
        else:
            where[lead] = (one.lead.stage, one.lead.stage)
    return found


def _known(connection: Connection, intakes: Sequence[Intake]) -> dict[Identity, int]:
    wanted = {identity for one in intakes for identity in one.identities}
    values = sorted({value for _, value in wanted})
    rows = staging.select_among(connection, _WHO, values, "text")
    return {(kind, value): lead for kind, value, lead in rows if (kind, value) in wanted}


def _stages(connection: Connection, leads: Sequence[int]) -> dict[int | Identity, tuple[str, str | None]]:
    """Lead → (where it stands, what a source said last); their rows are locked."""
    lock = "" if staging.is_sqlite(connection) else " ORDER BY id FOR UPDATE"
    rows = staging.select_among(connection, _WHERE + lock, leads, "bigint")
    return {key: (stage, orjson.loads(attributes).get(STATED)) for key, stage, attributes in rows}


def make(connection: Connection, asked: Sequence[tuple[int, str]], source: str, now: int) -> None:
    """Move the leads to where a record of the source has them, with the row that says so. `asked`: (lead, stage)."""
    if not asked:
        return
    where = {key: stage for key, (stage, _) in _stages(connection, sorted({lead for lead, _ in asked})).items()}
    steps: Mapping[int, list[StageMove]] = defaultdict(list)
    done: dict[int | Identity, int] = defaultdict(int)
    for lead, stage in asked:
        way = hops(where[lead], stage)
        for to in way if isinstance(way, list) else ():  # else: another record named two leads as one meanwhile
            cause = f"{source} says {stage}"
            steps[done[lead]].append(StageMove(lead, where[lead], to, "person", cause, ACTOR))
            where[lead], done[lead] = to, done[lead] + 1
    for number in sorted(steps):  # a lead's moves one after the other, all leads' first ones at once
        stages.move(connection, steps[number], now - 1)  # scoring at `now` follows it, and sees the new stage
