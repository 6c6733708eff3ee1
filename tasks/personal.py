"""What mails say beside the lead's attributes: scores of every model, what was bought, what others bought with it.

Decides which of these facts are read at all: those that a template to be sent asks for. One reading for a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from models.queries import purchases, ratings
from models.rules.conditions import Rating
from models.rules.notification import PERSONAL
from models.workspace import Workspace
from tasks.rendering import Templates

Facts = Mapping[int, Mapping[str, Any]]
"""Lead → name of a fact → its value, plain JSON."""


def read(
    connection: Connection, workspace: Workspace, templates: Templates, wanted: Mapping[int, Sequence[str]], now: int
) -> Facts:
    """The facts of PERSONAL that the mails ask for. `wanted`: lead → folders of emails/ that it is sent."""
    folders = sorted({folder for names in wanted.values() for folder in names})
    asked = {folder: templates.asked(folder) & PERSONAL for folder in folders}
    found: dict[int, dict[str, Any]] = {lead_id: {} for lead_id in wanted}
    asking = [lead_id for lead_id, names in wanted.items() if any("scores" in asked[name] for name in names)]
    if asking:
        models = {name: model.of for name, model in workspace.models.items()}
        rated = ratings.read(connection, asking, models, now)
        for lead_id in asking:
            found[lead_id]["scores"] = {name: _told(rated.get(lead_id, {}).get(name)) for name in models}
    buying = [
        lead_id for lead_id, names in wanted.items() if any({"bought", "bought_together"} & asked[n] for n in names)
    ]
    for lead_id, one in (purchases.read(connection, buying, now) if buying else {}).items():
        found[lead_id] |= {"bought": one.bought, "bought_together": one.together}
    return found


def _told(rating: Rating | None) -> dict[str, Any]:
    if rating is None:
        return {"total": 0.0, "band": None, "cell": None, "dimensions": {}}
    return {
        "total": rating.total or 0.0,
        "band": rating.band,
        "cell": rating.cell,
        "dimensions": dict(rating.dimensions),
    }
