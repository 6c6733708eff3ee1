"""People of the reference as the kernel's columns."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from models.rules.mailboxes import mailbox_kind
from models.rules.scoring import ScoringModel
from models.rules.scoring.columns import Activities, Chunk, Leads
from models.rules.scoring.compilation import UNIT, CompiledModel
from models.rules.scoring.kernel import Scores, score
from models.rules.touchpoints import Touchpoint
from tests.reference.scoring import Person, World

LIST = ["5", "US", "acme.example", "/blog/a"]
FIELDS = [name for name in Touchpoint._fields if name != "facets"]


def chunk_of(people: list[Person]) -> tuple[Chunk, list[tuple[int, Touchpoint]]]:
    """The chunk, and the touchpoints with their ids."""
    ids: dict[Touchpoint, int] = {}
    rows = []
    for position, person in enumerate(people):
        for number, one in enumerate([person] if person.people is None else person.people):
            for at, point in one.activities:
                facets = tuple((k, v) for k, v in sorted(point.items()) if k not in FIELDS and v is not None)
                touchpoint = Touchpoint(**{k: v for k, v in point.items() if k in FIELDS}, facets=facets)
                rows.append((position, ids.setdefault(touchpoint, len(ids) + 1), at, number))
    lead, touchpoint_id, at_, number_ = (np.array([row[i] for row in rows], np.int64) for i in range(4))
    pooled = number_ if any(person.people is not None for person in people) else None
    leads = Leads(
        ids=np.arange(1, len(people) + 1),
        attributes=[person.attributes for person in people],
        emails=[person.email for person in people],
        stages=[person.stage for person in people],
        owners=[person.owner for person in people],
        created_at=np.array([person.created_at for person in people], np.int64),
        accounts=[person.account for person in people],
    )
    return Chunk(leads, Activities.ordered(lead, touchpoint_id, at_, pooled)), [(i, t) for t, i in ids.items()]


def loaded(data: dict[str, Any]) -> ScoringModel:
    """The model of plain data; every list that it names is LIST."""
    return ScoringModel.model_validate(data, context={"read_list": lambda path: "\n".join(LIST)})


def world(zone: str = "UTC") -> World:
    """What the reference evaluates in."""
    return World(ZoneInfo(zone), {"lists/some.txt": LIST}, mailbox_kind)


def scored(
    data: dict[str, Any] | ScoringModel, people: list[Person], t: int, zone: str = "UTC"
) -> tuple[CompiledModel, Scores]:
    """The people's scores by the kernel."""
    compiled = CompiledModel(data if isinstance(data, ScoringModel) else loaded(data), ZoneInfo(zone))
    chunk, touchpoints = chunk_of(people)
    compiled.learn(touchpoints)
    return compiled, score(compiled, chunk, t)


def told(compiled: CompiledModel, scores: Scores, lead: int) -> dict[str, Any]:
    """The scores of one lead in the reference's words."""
    model, grid = compiled.model, compiled.model.grid

    def label(ladder: Any, count: int) -> str:
        return str(ladder.edges[len(ladder.edges) - count][0] if count else ladder.below)

    return {
        "rules": {rule.rule.name: scores.rules[rule.index][lead] / UNIT for rule in compiled.rules},
        "groups": {f"{d}/{g}": scores.groups[i][lead] / UNIT for i, (d, g, _) in enumerate(compiled.groups)},
        "dimensions": {d: scores.dimensions[i][lead] for i, (d, _) in enumerate(compiled.dimensions)},
        "total": scores.total[lead],
        "must": bool(scores.must[lead]),
        "excluded": model.exclude[scores.excluded[lead]].name if scores.excluded[lead] >= 0 else None,
        "cell": label(grid.rows, scores.row[lead]) + label(grid.columns, scores.column[lead]) if grid else None,
        "band": label(model.bands, scores.band[lead]) if model.bands else None,
        "surge": bool(scores.surge[lead]),
        "shown": None if scores.shown is None else int(scores.shown[lead]),
    }
