"""A world for tests of the whole chain: a workspace with an inbox, the command as a process, and what it left behind.

`facts` reads every table by natural keys, so that a chain that was killed and run again can be compared with one that
was not; `progress` says how far a chain has come, whatever the speed of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from cli import demo_world, init
from models.database import Database
from tests.commands import Command

NOW = demo_world.START + timedelta(days=demo_world.DAYS)
LATER = NOW + timedelta(hours=2)
"""When the first mail of the sequence `welcome` is due."""

NATURAL = {
    "leads": "SELECT l.email, a.key, l.stage, l.owner, l.attributes, l.created_at FROM leads l"
    " LEFT JOIN accounts a ON a.id = l.account_id",
    "identities": "SELECT i.kind, i.value, l.email FROM identities i JOIN leads l ON l.id = i.lead_id",
    "activities": "SELECT x.dedupe, l.email, t.digest, x.occurred_at, x.machine, x.properties FROM activities x"
    " JOIN leads l ON l.id = x.lead_id JOIN touchpoints t ON t.id = x.touchpoint_id",
    "deals": "SELECT d.source, d.external_id, l.email, d.outcome, d.amount FROM deals d"
    " LEFT JOIN leads l ON l.id = d.lead_id",
    "scores": "SELECT l.email, s.model, s.total, s.dimensions, s.cell, s.band, s.must, s.excluded, s.surge,"
    " s.next_change_at FROM scores s JOIN leads l ON l.id = s.subject_id",
    "score_changes": "SELECT l.email, c.at, c.total, c.cell, c.band FROM score_changes c"
    " JOIN leads l ON l.id = c.subject_id",
    "stage_changes": "SELECT l.email, c.from_stage, c.to_stage, c.at, c.cause, c.actor, c.total FROM stage_changes c"
    " JOIN leads l ON l.id = c.lead_id",
    "enrolments": "SELECT l.email, e.sequence, e.entry, e.state, e.step, e.due_at, e.entered_at, e.reason"
    " FROM enrolments e JOIN leads l ON l.id = e.lead_id",
    "assignments": "SELECT l.email, a.ordinal, a.rep, a.state, a.at FROM assignments a"
    " JOIN leads l ON l.id = a.lead_id",
    "messages": "SELECT l.email, m.kind, m.recipient, m.template, m.payload FROM messages m"
    " JOIN leads l ON l.id = m.lead_id",
    "rejected_records": "SELECT kind, line, reason, record FROM rejected_records",
}
"""Table → its rows without surrogate keys, and without what tells of the way rather than of the end."""

PROGRESS = (
    "SELECT count(*) FROM leads",
    "SELECT count(*) FROM activities",
    "SELECT count(*) FROM scores",
    "SELECT (SELECT count(*) FROM stage_changes) + (SELECT count(*) FROM enrolments)",
    "SELECT count(*) FROM messages",
    "SELECT count(*) FROM messages WHERE state <> 'queued'",
)


@dataclass(frozen=True)
class Chain:
    """A workspace whose inbox is full, and the command that works on it."""

    root: Path
    database_url: str
    smtp_port: int
    environment: Mapping[str, str]

    def start(self, now: datetime, *words: str) -> Command:
        """`warmline run --now …`, begun."""
        return Command("run", "--now", now.isoformat(), *words, folder=self.root, environment=self.environment)

    def run(self, now: datetime, *words: str) -> tuple[int, str, str]:
        """`warmline run --now …`, to its end: exit code, stdout, stderr."""
        process = self.start(now, *words)
        out, err = process.communicate()
        assert process.returncode is not None
        return process.returncode, out, err

    def facts(self) -> dict[str, list[tuple[object, ...]]]:
        """Every table by natural keys, in a fixed order."""
        database = Database(self.database_url)
        with database.read() as connection:
            found = {
                table: sorted((tuple(row) for row in connection.execute(text(query))), key=repr)
                for table, query in NATURAL.items()
            }
        database.close()
        return found

    def messages(self) -> dict[str, tuple[str, str]]:
        """Message-ID → (kind, state)."""
        database = Database(self.database_url)
        with database.read() as connection:
            rows = connection.execute(text("SELECT message_id, kind, state FROM messages")).all()
        database.close()
        return {row[0]: (row[1], row[2]) for row in rows}


class Progress:
    """How far a chain has come: 0 … 6, one for each of PROGRESS, as shares of what `total` counted at the end."""

    def __init__(self, chain: Chain, total: tuple[int, ...] | None = None) -> None:
        self._database = Database(chain.database_url)
        self._database.migrate()
        self._total = total

    def counts(self) -> tuple[int, ...]:
        with self._database.read() as connection:
            return tuple(int(connection.execute(text(query)).scalar_one()) for query in PROGRESS)

    def share(self) -> float:
        assert self._total is not None
        return sum(count / max(whole, 1) for count, whole in zip(self.counts(), self._total, strict=True))

    def close(self) -> None:
        self._database.close()


def make_chain(
    root: Path, database_url: str, smtp_port: int, *, api_url: str | None, leads: int, thinned: int
) -> Chain:
    """A workspace from the playbook with the demo's world of `leads` people in its inbox, every `thinned`th activity.

    `api_url`: the Prefect server for its commands; None lets each start its own.
    """
    init.make(root, "mql-sql")
    for name, content in next(demo_world.slices(11, leads=leads, instants=1)).files.items():
        path = root / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = content.splitlines(keepends=True)
        if name.startswith("activities/"):
            lines = lines[::thinned]
        elif name.startswith("leads/"):
            # A mail costs what ten leads cost elsewhere: four of five have not consented, and get none.
            lines = [line if number % 5 == 1 else line.replace(b",yes,", b",no,") for number, line in enumerate(lines)]
        path.write_bytes(b"".join(lines))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "WARMLINE_"))},
        "WARMLINE_DATABASE_URL": database_url,
        "WARMLINE_SMTP__PORT": str(smtp_port),
        "WARMLINE_SECRET_KEY": "the same in every world, for Message-IDs come from it",
        **({"PREFECT_API_URL": api_url} if api_url else {}),
    }
    return Chain(root, database_url, smtp_port, environment)


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
