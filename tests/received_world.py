"""Batches as the collector keeps them, resolved without one; and what is there then, by natural keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import text

from models.queries import received
from models.rules.instants import SECOND, instant
from models.tables import ReceivedBatch
from models.workspace import Workspace
from tasks.drain import Drained, drain
from tests.ingest_world import NOW

SOURCE = "shop"


def batch(*items: Any, form: str = "segment", details: dict[str, Any] | None = None, **more: Any) -> ReceivedBatch:
    """A batch of these messages, received now; `more` stands beside `batch` in its body."""
    content = orjson.dumps({"batch": list(items), "sentAt": instant(NOW).isoformat(), **more})
    return body(content, form, details)


def body(content: bytes, form: str = "segment", details: dict[str, Any] | None = None) -> ReceivedBatch:
    told = None if details is None else orjson.dumps(details).decode()
    return ReceivedBatch(source=SOURCE, form=form, received_at=NOW, content=content, details=told)


def receive(workspace: Workspace, *batches: ReceivedBatch) -> None:
    with workspace.database.write() as connection:
        received.keep(connection, batches)


def resolve(workspace: Workspace, *batches: ReceivedBatch, now: int = NOW) -> Drained:
    """Receive and drain."""
    receive(workspace, *batches)
    return drain(workspace, now)


def message(kind: str, number: int, ago: int = 60, **said: Any) -> dict[str, Any]:
    """A message of the Segment specification, `ago` seconds old."""
    at = instant(NOW - ago * SECOND).isoformat()
    return {"type": kind, "messageId": f"m{number}", "timestamp": at, **said}


def rows(workspace: Workspace, query: str) -> list[tuple[Any, ...]]:
    with workspace.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def people(workspace: Workspace) -> dict[int, str]:
    """Lead → all that it is called."""
    found: dict[int, list[str]] = {}
    for lead, kind, value in rows(workspace, "SELECT lead_id, kind, value FROM identities ORDER BY kind, value"):
        found.setdefault(lead, []).append(f"{kind}:{value}")
    return {lead: " ".join(names) for lead, names in found.items()}


def facts(workspace: Workspace) -> dict[str, Any]:
    """What there is, without a surrogate key."""
    who = people(workspace)
    leads = rows(
        workspace,
        "SELECT l.id, l.email, l.attributes, k.key FROM leads l LEFT JOIN accounts k ON k.id = l.account_id",
    )
    acts = rows(
        workspace,
        "SELECT a.lead_id, a.dedupe, a.occurred_at, t.digest, a.properties FROM activities a"
        " JOIN touchpoints t ON t.id = a.touchpoint_id",
    )
    scores = rows(workspace, "SELECT subject_id, model, total FROM scores")
    return {
        "leads": sorted((who.get(lead, "nobody"), *rest) for lead, *rest in leads),
        "activities": sorted((bytes(key), at, who[lead], bytes(about), said) for lead, key, at, about, said in acts),
        "accounts": sorted(rows(workspace, "SELECT key, domain, attributes FROM accounts")),
        "scores": sorted((who[lead], model, total) for lead, model, total in scores),
    }


def counts(workspace: Workspace) -> Sequence[tuple[Any, ...]]:
    """(received, accepted, duplicate, rejected) since ever."""
    query = "SELECT sum(received), sum(accepted), sum(duplicate), sum(rejected) FROM received_counts"
    return [tuple(int(number or 0) for number in row) for row in rows(workspace, query)]
