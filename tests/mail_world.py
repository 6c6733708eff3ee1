"""A small workspace with two e-mails, for tests of delivery: made, filled, delivered and looked at."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from models.queries.clearance import Terms
from models.queries.messages import NewMessage, intend
from models.rules.instants import SECOND
from models.rules.outbox import Backoff
from models.workspace import Workspace
from tasks.composition import Composer
from tasks.processes import owner_name, surely_dead
from tasks.rendering import Templates
from tasks.sending import Delivery, deliver

EMAILS = {
    "welcome/subject.txt.j2": "Welcome, {{ lead.name }}\n",
    "welcome/body.html.j2": '{% extends "layout.html.j2" %}{% block content %}<p>Hi {{ lead.name }}</p>{% endblock %}',
    "welcome/body.txt.j2": '{% extends "layout.txt.j2" %}{% block content %}Hi {{ lead.name }}{% endblock %}',
}
ALERT = {
    "rep_name": "Robin",
    "lead_name": "Ada Lovelace",
    "position": "VP Engineering, Northwind Ltd",
    "headline": "asked for a demo and reached 72 points",
    "why_now": "Asked for a demo (Tue 3 Mar: +25 points). The score is now 72 points.",
    "score": 72.04,
    "out_of": 100,
    "cell": "A2",
    "band": "hot",
    "ask": "Call within 30 minutes, by 14:35.",
    "why": [{"name": "demo", "points": 25.0, "because": "once, on 3 March"}],
    "contact": [{"label": "Phone", "value": "+44 20 7946 0000"}],
    "touchpoints": [{"at": "Tue 3 Mar, 14:05", "what": "Asked for a demo", "detail": "/demo"}],
    "opening": "What does your team need to see first?",
    "assigned_because": "next in the rotation",
    "answers": [{"label": "Accept", "url": "https://go.example/a"}],
}
FAST = Backoff(first=SECOND // 20, factor=1.5, longest=SECOND // 5, attempts=60)


def wall() -> int:
    return time.time_ns() // 1000


def make_workspace(folder: Path, url: str, port: int, **smtp: Any) -> Workspace:
    """A workspace in `folder` on the database `url`, whose relay is 127.0.0.1:`port`."""
    for name, content in EMAILS.items():
        path = folder / "emails" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    given = {"port": port, "timeout_seconds": 1.0, "reply_timeout_seconds": 1.5, "connections": 4} | smtp
    lines = [f"database_url: {url}", "base_url: https://go.example", "smtp:"]
    lines += [f"  {name}: {value}" for name, value in given.items()]
    lines += ["sender:", "  name: Warmline", "  email: hello@warmline.example", "  postal_address: 1 Example Street"]
    (folder / "warmline.yaml").write_text("\n".join(lines) + "\n")
    return Workspace.open(folder)


def nurture(number: int, now: int, **given: Any) -> NewMessage:
    fields = {"recipient": f"lead{number}@example.net", "payload": {"lead": {"name": f"Zoë {number}"}}} | given
    return NewMessage(f"nurture:{number}:welcome:1:0", "nurture", template="welcome", next_attempt_at=now, **fields)


def alert(number: int, now: int, **given: Any) -> NewMessage:
    fields = {"recipient": f"rep{number}@example.com", "payload": ALERT} | given
    key = f"alert:{number}:1:assigned"
    return NewMessage(key, "alert", template="sales_notification", next_attempt_at=now, **fields)


def fill(workspace: Workspace, messages: list[NewMessage], now: int) -> int:
    with workspace.database.write(durable=True) as connection:
        return intend(connection, messages, message_ids=workspace.message_ids, now=now)


def delivery(workspace: Workspace, now: int | None = None, **given: Any) -> Delivery:
    settings = workspace.settings
    composer = Composer(Templates(workspace.emails), settings.sender, settings.base_url, workspace.secret_key)
    fields: dict[str, Any] = {
        "database": workspace.database,
        "composer": composer,
        "smtp": settings.smtp,
        "owner": owner_name(),
        "now": wall() if now is None else now,
        "clock": wall,
        "random": random.random,
        "limit": 100_000,
        "terms": Terms(
            workspace.secret_key,
            workspace.scoring.name if workspace.model_files() else None,
            limits=workspace.limits,
        ),
        "backoff": FAST,
        "dead": surely_dead,
    }
    return Delivery(**(fields | given))


async def send_all(workspace: Workspace, now: int | None = None, **given: Any) -> dict[str, int]:
    return (await deliver(delivery(workspace, now, **given))).summary()


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    """The outbox, as it stands."""
    with workspace.database.read() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM messages ORDER BY id")).mappings()]


def states(workspace: Workspace) -> dict[str, str]:
    """Idempotency key → state."""
    return {row["idempotency_key"]: row["state"] for row in rows(workspace)}
