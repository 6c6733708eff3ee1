"""What sales said, on its way into routing: a batch's verdicts take effect, and whom sales has just sent back is known.

Decides the order only: models.queries.verdicts reads and settles, models.rules.lifecycle decides what a lead that is
not ready may become. Called by tasks.routing in its own transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from models.queries import verdicts
from models.queries.standings import Standing
from models.queries.verdicts import Said
from models.rules.instants import Micros
from models.rules.scoring.compilation import CompiledModel
from models.rules.verdicts import Verdict


def hear(connection: Connection, lead_ids: Sequence[int], now: Micros) -> dict[int, Said]:
    """The newest verdict of each lead that has one, after it has taken effect on assignment and stage."""
    said = verdicts.standing(connection, lead_ids, now)
    verdicts.settle(connection, said, now)
    return said


def held_back(
    connection: Connection,
    found: dict[int, Standing],
    said: Mapping[int, Said],
    compiled: Callable[[], CompiledModel],
    now: Micros,
) -> dict[int, Standing]:
    """The standings, with since when a lead is not ready and what it has earned since. `compiled` is made if needed."""
    rejected = {
        lead_id: one.at for lead_id, one in said.items() if one.verdict is Verdict.NOT_READY and lead_id in found
    }
    if not rejected:
        return found
    earned = verdicts.earned(connection, compiled(), rejected, now)
    known = {
        lead_id: found[lead_id]._replace(not_ready_at=Micros(at), earned_at=_instant(earned.get(lead_id)))
        for lead_id, at in rejected.items()
    }
    return {**found, **known}


def _instant(at: int | None) -> Micros | None:
    return None if at is None else Micros(at)
