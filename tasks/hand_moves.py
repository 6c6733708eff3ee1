"""A person moves a lead to another stage: by the one table of legal moves, by compare-and-set, with cause and name.

Decides that a move which the next run would undo is refused, with the reason. What follows from a move (salesperson,
sequences, recall) is ordinary routing, which the lead is queued for.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from models.errors import WarmlineError
from models.queries import acts, queue, ratings, stages, standings
from models.queries.stages import StageMove
from models.rules.conditions import Facts
from models.rules.instants import Micros
from models.rules.lifecycle import IllegalMoveError, Move, Stage, refusal, word_of
from models.workspace import Workspace


class OvertakenError(WarmlineError):
    """Somebody else moved the lead at the same moment: look where it stands now, and say again what you want."""


@dataclass(frozen=True, slots=True)
class Order:
    """Where a lead shall go, why, and who says so."""

    lead_id: int
    to: str
    because: str
    by: str


@dataclass(frozen=True, slots=True)
class Done:
    """What was moved from where."""

    lead_id: int
    from_stage: str
    to_stage: str


def move(workspace: Workspace, order: Order, now: Micros) -> Done:
    """Move the lead. IllegalMoveError with the legal ways, or with why it would not stay there; else all or nothing."""
    with workspace.database.write(durable=True) as connection:
        found = standings.read(connection, [order.lead_id], workspace.scoring.name, now)
        standing = found[order.lead_id]
        if why := refusal(standing.stage, order.to, "person"):
            raise IllegalMoveError(why)
        if why := _why_not_for_long(workspace, _facts(connection, workspace, standing, now), order.to):
            raise IllegalMoveError(why)
        step = StageMove(
            lead_id=order.lead_id,
            from_stage=standing.stage,
            to_stage=order.to,
            mover="person",
            cause=order.because,
            actor=order.by,
            total=standing.total,
            version_id=standing.version_id,
        )
        if order.lead_id not in stages.move(connection, [step], now):
            raise OvertakenError
        for name in ("score", "route"):  # in this order, as everybody locks them
            queue.enqueue(connection, name, [order.lead_id])
    return Done(order.lead_id, standing.stage, order.to)


def _facts(connection: Connection, workspace: Workspace, standing: standings.Standing, now: Micros) -> Facts:
    lifecycle, ids = workspace.lifecycle, [standing.lead_id]
    attributes = standings.derived(connection, [standing], lifecycle.attributes(), now)[standing.lead_id]
    rated = ratings.read(connection, ids, workspace.rated, now)
    done = acts.asked(connection, ids, lifecycle.questions, now)
    known = standing.facts(attributes, rated.get(standing.lead_id))
    return known._replace(acts=done.get(standing.lead_id, ()), now=now)


def _why_not_for_long(workspace: Workspace, facts: Facts, to: str) -> str:
    """Why the next run would take the lead away again: a deal, an exclusion, a must; empty if it may stay."""
    word = word_of(facts.stage, to)
    there = facts._replace(stage=to, said=word, said_at=None if word is None else Micros(facts.now))
    decision = workspace.lifecycle.decide(there)
    if not isinstance(decision, Move) or (decision.mover != "deal" and to != Stage.SALES_QUALIFIED):
        return ""
    return f"stage: {to} would not last: {decision.cause}, which makes it {decision.to}"
