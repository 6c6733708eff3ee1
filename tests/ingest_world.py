"""What the ingest tests share: a workspace on a given database, files, and the tables compared by natural keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import text

from models.database import Database
from models.workspace import Workspace
from tasks.intake import Summary, ingest_file

NOW = 1_767_225_600_000_000
"""2026-01-01T00:00Z."""
NATURAL = {
    "leads": "SELECT (SELECT min(i.kind || ' ' || i.value) FROM identities i WHERE i.lead_id = l.id), l.email, l.stage,"
    " l.stage_at, l.owner, l.attributes, l.created_at, l.recorded_at, a.key FROM leads l LEFT JOIN accounts a"
    " ON a.id = l.account_id",
    "identities": "SELECT i.kind, i.value, i.recorded_at, (SELECT min(o.kind || ' ' || o.value) FROM identities o"
    " WHERE o.lead_id = i.lead_id) FROM identities i",
    "accounts": "SELECT key, name, domain, owner, attributes, created_at, recorded_at FROM accounts",
    "touchpoints": "SELECT digest, type, name, host, path, campaign, source, medium, term, content, referrer_host,"
    " facets, first_seen_at FROM touchpoints",
    "activities": "SELECT a.dedupe, a.occurred_at, a.recorded_at, a.properties, t.digest,"
    " (SELECT min(i.kind || ' ' || i.value) FROM identities i WHERE i.lead_id = a.lead_id)"
    " FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id",
    "deals": "SELECT d.source, d.external_id, d.name, d.stage, d.outcome, d.amount, d.currency, d.product, d.owner,"
    " d.opened_at, d.closed_at, d.attributes, d.recorded_at, a.key,"
    " (SELECT min(i.kind || ' ' || i.value) FROM identities i WHERE i.lead_id = d.lead_id)"
    " FROM deals d LEFT JOIN accounts a ON a.id = d.account_id",
    "attribute_changes": "SELECT c.subject, c.occurred_at, c.recorded_at, c.source, c.changes,"
    " CASE c.subject WHEN 'lead' THEN (SELECT min(i.kind || ' ' || i.value) FROM identities i"
    " WHERE i.lead_id = c.subject_id)"
    " WHEN 'account' THEN (SELECT key FROM accounts WHERE id = c.subject_id)"
    " ELSE (SELECT external_id FROM deals WHERE id = c.subject_id) END FROM attribute_changes c",
    "rejected_records": "SELECT digest, kind, source, line, reason, record FROM rejected_records",
    "work_queue": "SELECT queue, CASE queue"
    " WHEN 'score_account' THEN (SELECT key FROM accounts WHERE id = q.subject_id)"
    " WHEN 'score_deal' THEN (SELECT external_id FROM deals WHERE id = q.subject_id)"
    " ELSE (SELECT min(i.kind || ' ' || i.value) FROM identities i WHERE i.lead_id = q.subject_id) END"
    " FROM work_queue q",
}
"""Each table without its surrogate keys: two databases that hold the same facts give the same rows."""


@contextmanager
def workspace_on(url: str, root: Path) -> Iterator[Workspace]:
    """A workspace of nothing but its settings, on the database `url`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "warmline.yaml").write_text(f"database_url: {orjson.dumps(url).decode()}\n")
    opened = Workspace.open(root)
    try:
        yield opened
    finally:
        opened.database.close()


def facts(database: Database, *leave_out: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows by natural keys, sorted."""
    with database.read() as connection:
        return {
            name: sorted(((tuple(row)) for row in connection.execute(text(query))), key=repr)
            for name, query in NATURAL.items()
            if name not in leave_out
        }


def whole_tables(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that ingest writes but the log of readings."""
    with database.read() as connection:
        return {
            name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}"))), key=repr) for name in NATURAL
        }


def ingest(workspace: Workspace, kind: str, file: Path, content: str | bytes | None = None, **words: Any) -> Summary:
    """Write `content` to `file` and read it."""
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    mapping = words.pop("mapping", None)
    return ingest_file(workspace, kind, file, mapping, words.pop("now", NOW), **words)


def counted(summary: Summary) -> tuple[int, int, int, int]:
    """(received, accepted, duplicate, rejected)."""
    counts = summary.counts
    assert counts.received == counts.accepted + counts.duplicate + counts.rejected
    return counts.received, counts.accepted, counts.duplicate, counts.rejected


def lines(*records: object) -> str:
    """JSON Lines."""
    return "".join(orjson.dumps(record).decode() + "\n" for record in records)
