"""Where leads stand: what routing and nurture read about them, for a batch of leads in a handful of statements.

Decides nothing. The current score of one model, the lead with its account, and what its deals say as of an instant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.acts import Act as Done
from models.rules.conditions import Facts, Rating
from models.rules.instants import Micros
from models.rules.scoring.attributes import values_of
from models.rules.scoring.coherence import FIRST
from models.rules.scoring.columns import Chunk, Leads


class Standing(NamedTuple):
    """A lead as of an instant. Scores are None where the lead was never scored under the model."""

    lead_id: int
    email: str | None
    stage: str
    owner: str | None
    attributes: Mapping[str, Any]
    created_at: int
    account_id: int | None
    account: Mapping[str, Any] | None
    """The account's attributes with `name`, `domain` and `owner`."""
    total: float | None
    dimensions: Mapping[str, float]
    cell: str | None
    band: str | None
    must: bool
    excluded: str | None
    surge: bool
    version_id: int | None
    deal: str = "none"
    lost_at: Micros | None = None
    active_at: Micros | None = None
    said: str | None = None
    """raised | lowered, where a person put the lead into its stage."""
    stage_at: int = 0
    not_ready_at: Micros | None = None
    """When sales said so, where that is its newest verdict (tasks.feedback fills it)."""
    earned_at: Micros | None = None
    """Its newest act since then that gives points."""

    @property
    def account_owner(self) -> str | None:
        return None if self.account is None else self.account.get("owner")

    def told(self) -> dict[str, Any]:
        """What others may be told of the lead, by name: its attributes, and what is known beside them."""
        return {
            **self.attributes,
            "company": (self.account or {}).get("name") or self.attributes.get("company"),
            "email": self.email,
            "stage": self.stage,
            "owner": self.owner,
            "total": self.total,
            "cell": self.cell,
            "band": self.band,
        }

    def facts(
        self,
        attributes: Mapping[str, Any],
        further: Mapping[str, Rating] | None = None,
        acts: Sequence[Done] = (),
        now: int = 0,
    ) -> Facts:
        """What models.rules.lifecycle decides by; `attributes`: derived ones included, as its predicates need them.

        `further`: what the models that its conditions name say of the lead (models.queries.ratings); `acts`: what it
        did, as far as a condition asks at `now`.
        """
        return Facts(  # in the order of its fields: by name it takes twice the time, for each lead that is routed
            self.stage,
            self.total,
            self.dimensions,
            self.cell,
            self.band,
            self.must,
            self.excluded,
            self.surge,
            self.deal,
            self.lost_at,
            self.active_at,
            attributes,
            False,
            further or {},
            acts,
            0,
            now,
            self.said,
            None if self.said is None else Micros(self.stage_at),
            self.not_ready_at,
            self.earned_at,
        )


_LEADS = """
    SELECT l.id, l.email, l.stage, l.owner, l.attributes, l.created_at, l.account_id,
           a.name, a.domain, a.owner, a.attributes,
           s.total, s.dimensions, s.cell, s.band, s.must, s.excluded, s.surge, s.version_id,
           l.stage_said, l.stage_at
    FROM leads l
    LEFT JOIN accounts a ON a.id = l.account_id
    LEFT JOIN scores s ON s.subject_id = l.id AND s.model = {mark}
    WHERE {among}
    ORDER BY l.id
"""
# A deal counts as what it was at `now`: one that closes later is open until then.
_DEALS = """
    SELECT lead_id,
           max(CASE WHEN outcome = 'won' AND coalesce(closed_at, {now}) <= {now} THEN 1 ELSE 0 END),
           max(CASE WHEN (outcome = 'open' OR closed_at > {now}) AND coalesce(opened_at, {now}) <= {now}
                    THEN 1 ELSE 0 END),
           max(CASE WHEN outcome = 'lost' AND coalesce(closed_at, {now}) <= {now}
                    THEN coalesce(closed_at, recorded_at) END)
    FROM deals WHERE {among} GROUP BY lead_id
"""
_ACTIVE = text(
    """
    SELECT a.lead_id, max(a.occurred_at) FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.machine = 0 AND a.lead_id IN :ids AND a.occurred_at <= :now
      AND t.type NOT IN ('score_adjusted', 'sales_accepted', 'sales_not_ready', 'sales_unqualified')
    GROUP BY a.lead_id
    """
).bindparams(bindparam("ids", expanding=True))


_TURNED = text(
    """
    SELECT lead_id FROM deals WHERE opened_at > :after AND opened_at <= :until AND lead_id IS NOT NULL
    UNION SELECT lead_id FROM deals WHERE closed_at > :after AND closed_at <= :until AND lead_id IS NOT NULL
    """
)


def turned(connection: Connection, after: int, until: int) -> list[int]:
    """The leads of whom a deal was opened or closed at an instant in (after, until]."""
    return list(connection.execute(_TURNED, {"after": after, "until": until}).scalars())


def read(connection: Connection, lead_ids: Sequence[int], model: str, now: int) -> dict[int, Standing]:
    """The standing of each lead that exists, by id, in the order of ids."""
    if not lead_ids:
        return {}
    among, ids = staging.among(connection, "l.id", lead_ids)
    statement = _LEADS.format(mark=staging.mark(connection), among=among)
    found = {row[0]: _standing(row) for row in staging.rows(connection, statement, (model, *ids))}
    asked = [lead_id for lead_id, one in found.items() if one.said is not None]
    among, ids = staging.among(connection, "lead_id", lead_ids)
    statement = _DEALS.format(now=int(now), among=among)
    for lead_id, won, opened, lost_at in staging.rows(connection, statement, ids):
        deal = "won" if won else "open" if opened else "lost" if lost_at is not None else "none"
        found[lead_id] = found[lead_id]._replace(deal=deal, lost_at=lost_at)
        if lost_at is not None:
            asked.append(lead_id)
    if asked:
        for lead_id, active_at in connection.execute(_ACTIVE, {"ids": asked, "now": now}).all():
            found[lead_id] = found[lead_id]._replace(active_at=active_at)
    return found


def derived(
    connection: Connection, standings: Collection[Standing], names: Collection[str], now: int
) -> dict[int, dict[str, Any]]:
    """Lead → the attributes `names` as predicates see them at `now`: those imported, and those that scoring derives."""
    listed = list(standings)
    found: dict[int, dict[str, Any]] = {one.lead_id: {} for one in listed}
    if not listed:
        return found
    leads = Leads(
        ids=np.array([one.lead_id for one in listed], np.int64),
        attributes=[one.attributes for one in listed],
        emails=[one.email for one in listed],
        stages=[one.stage for one in listed],
        owners=[one.owner for one in listed],
        created_at=np.array([one.created_at for one in listed], np.int64),
        accounts=[one.account for one in listed],
    )
    chunk = Chunk(leads)
    for name in sorted(names):
        for one, value in zip(
            listed, values_of(name, chunk, now, lambda f, c, at: _first(connection, f, c, at)), strict=True
        ):
            found[one.lead_id][name] = value
    return found


def _first(connection: Connection, field: str, chunk: Chunk, now: int) -> list[Any]:
    """The touchpoint field of each lead's earliest activity that carries one; of several at once the first by text."""
    if f"first.{field}" not in FIRST:
        return [None] * len(chunk)
    query = text(
        f"""
        SELECT e.lead_id, min(t.{field}) FROM
            (SELECT a.lead_id, min(a.occurred_at) AS at FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
             WHERE a.machine = 0 AND a.lead_id IN :ids AND a.occurred_at <= :now AND t.{field} IS NOT NULL
             GROUP BY a.lead_id) e
        JOIN activities a ON a.lead_id = e.lead_id AND a.occurred_at = e.at AND a.machine = 0
        JOIN touchpoints t ON t.id = a.touchpoint_id
        GROUP BY e.lead_id
        """
    ).bindparams(bindparam("ids", expanding=True))
    ids = chunk.leads.ids.tolist()
    found = {row[0]: row[1] for row in connection.execute(query, {"ids": ids, "now": now}).all()}
    return [found.get(lead_id) for lead_id in ids]


@dataclass(frozen=True, slots=True)
class Act:
    """An activity with what it was about."""

    at: int
    type: str
    name: str | None
    host: str | None
    path: str | None
    campaign: str | None


_NEWEST = text(
    """
    SELECT n.lead_id, n.occurred_at, t.type, t.name, t.host, t.path, t.campaign FROM
        (SELECT a.lead_id, a.occurred_at, a.touchpoint_id,
                row_number() OVER (PARTITION BY a.lead_id ORDER BY a.occurred_at DESC, a.touchpoint_id) AS place
         FROM activities a WHERE a.machine = 0 AND a.lead_id IN :ids AND a.occurred_at <= :now) n
    JOIN touchpoints t ON t.id = n.touchpoint_id
    WHERE n.place <= :most
      AND t.type NOT IN ('score_adjusted', 'sales_accepted', 'sales_not_ready', 'sales_unqualified')
    ORDER BY n.lead_id, n.place
    """
).bindparams(bindparam("ids", expanding=True))


def newest_acts(connection: Connection, lead_ids: Sequence[int], now: int, most: int) -> dict[int, list[Act]]:
    """The newest activities of each lead, newest first, at most `most`."""
    found: dict[int, list[Act]] = {lead_id: [] for lead_id in lead_ids}
    if lead_ids:
        for lead_id, *act in connection.execute(_NEWEST, {"ids": list(lead_ids), "now": now, "most": most}).all():
            found[lead_id].append(Act(*act))
    return found


def _standing(row: Any) -> Standing:
    account = None
    if row[6] is not None:
        account = {**orjson.loads(row[10]), "name": row[7], "domain": row[8], "owner": row[9]}
    total, dimensions, cell, band, must, excluded, surge, version_id, said, stage_at = row[11:]
    dimensions = {} if dimensions is None else orjson.loads(dimensions)
    lead_id, email, stage, owner = row[:4]
    person = (lead_id, email, stage, owner, orjson.loads(row[4]), row[5], row[6], account)
    scored = (total, dimensions, cell, band, bool(must), excluded, bool(surge), version_id)
    return Standing(*person, *scored, said=said, stage_at=stage_at)
