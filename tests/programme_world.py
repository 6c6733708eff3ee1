"""A cast for routing and nurture: a workspace with the playbook mql-sql, and leads with scores of one's choosing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import text

import playbooks
from models.database import Database
from models.queries import queue
from models.rules.instants import DAY, Micros
from models.rules.lifecycle import Stage
from models.workspace import Workspace

NOW = Micros(20_000 * DAY + DAY // 2)


class World:
    """A workspace on a database, and short words to put leads into it."""

    def __init__(self, root: Path, database: Database) -> None:
        shutil.copytree(Path(playbooks.__file__).parent / "mql-sql", root)
        self.workspace = Workspace.open(root)
        self.workspace.__dict__["database"] = database  # instead of the file that warmline.yaml names
        self.database = database

    def rows(self, sql: str, **given: Any) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql), given)]

    def write(self, sql: str, *rows: dict[str, Any]) -> None:
        with self.database.write() as connection:
            connection.execute(text(sql), list(rows) or None)

    def lead(self, lead_id: int, total: float | None = None, stage: str = Stage.SUBSCRIBER, **more: Any) -> int:
        """A lead with a score, in the queue `route`. more: email, owner, account_id, attributes, excluded, must …"""
        self.leads([lead_id], total, stage, **more)
        return lead_id

    def leads(self, ids: list[int], total: float | None = None, stage: str = Stage.SUBSCRIBER, **more: Any) -> None:
        attributes = orjson.dumps(more.pop("attributes", {})).decode()
        owner, account_id = more.pop("owner", None), more.pop("account_id", None)
        has_email, at = more.pop("email", True), more.pop("at", NOW - 90 * DAY)
        self.write(
            """INSERT INTO leads (id, account_id, email, stage, stage_at, owner, attributes, created_at, recorded_at)
            VALUES (:id, :account_id, :email, :stage, :at, :owner, :attributes, :at, :at)""",
            *(
                {
                    "id": lead_id,
                    "account_id": account_id,
                    "email": f"lead{lead_id}@northwind.example" if has_email else None,
                    "stage": stage,
                    "at": at,
                    "owner": owner,
                    "attributes": attributes,
                }
                for lead_id in ids
            ),
        )
        if total is not None:
            self.score(ids, total, **more)

    def score(self, ids: list[int], total: float, must: bool = True, excluded: str | None = None, **more: Any) -> None:
        """Give the leads this score and put them into the queue."""
        given = {
            "total": total,
            "must": int(must),
            "excluded": excluded,
            "cell": None,
            "band": None,
            "surge": 0,
            **more,
        }
        self.write(
            """INSERT INTO scores
                (subject_id, model, version_id, as_of, total, dimensions, cell, band, must, excluded, surge, revision)
            VALUES (:id, 'mql-sql', :version, :as_of, :total, :dimensions, :cell, :band, :must, :excluded, :surge, 1)
            ON CONFLICT (subject_id, model) DO UPDATE SET total = excluded.total, dimensions = excluded.dimensions,
                must = excluded.must, excluded = excluded.excluded, surge = excluded.surge, cell = excluded.cell""",
            *(
                {
                    "id": lead_id,
                    "version": self.version(),
                    "as_of": NOW,
                    "dimensions": orjson.dumps({"fit": total / 2, "engagement": total / 2}).decode(),
                    **given,
                }
                for lead_id in ids
            ),
        )
        self.touch(*ids)

    def version(self) -> int:
        from models.queries import versions

        model = self.workspace.scoring
        with self.database.write() as connection:
            return versions.activate(connection, "scoring", model.name, model.digest(), model.content(), NOW - 90 * DAY)

    def touch(self, *ids: int) -> None:
        with self.database.write() as connection:
            queue.enqueue(connection, "route", sorted(ids))

    def deal(self, lead_id: int, outcome: str, closed_at: int | None = None, opened_at: int = NOW - 10 * DAY) -> None:
        self.write(
            """INSERT INTO deals (source, external_id, lead_id, outcome, opened_at, closed_at, attributes, recorded_at)
            VALUES ('crm', :key, :lead, :outcome, :opened, :closed, '{}', :now)
            ON CONFLICT (source, external_id)
            DO UPDATE SET outcome = excluded.outcome, closed_at = excluded.closed_at""",
            {
                "key": f"D{lead_id}",
                "lead": lead_id,
                "outcome": outcome,
                "opened": opened_at,
                "closed": closed_at,
                "now": NOW,
            },
        )
        self.touch(lead_id)

    def act(self, lead_id: int, kind: str, at: int, name: str | None = None) -> None:
        digest = f"{kind}{name}".encode()[:16].ljust(16)
        self.write(
            """INSERT INTO touchpoints (digest, type, name, facets, first_seen_at)
            VALUES (:digest, :type, :name, '{}', :at) ON CONFLICT DO NOTHING""",
            {"digest": digest, "type": kind, "name": name, "at": at},
        )
        self.write(
            """INSERT INTO activities (dedupe, lead_id, touchpoint_id, occurred_at, recorded_at, machine)
            SELECT :dedupe, :lead, id, :at, :at, 0 FROM touchpoints WHERE digest = :digest""",
            {"dedupe": f"{lead_id}:{kind}:{at}".encode(), "lead": lead_id, "at": at, "digest": digest},
        )

    def stage(self, lead_id: int) -> str:
        return str(self.rows("SELECT stage FROM leads WHERE id = :id", id=lead_id)[0][0])
