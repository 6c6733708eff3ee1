"""A referral is an act of who recommends us, and makes the friend a lead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from models.workspace import Workspace
from tests.ingest_world import counted, ingest, lines, workspace_on

ACT = {"type": "referral", "occurred_at": "2025-06-01T10:00:00Z", "email": "ada@acme.example"}


@pytest.fixture
def workspace(database_url: str, tmp_path: Path) -> Iterator[Workspace]:
    with workspace_on(database_url, tmp_path / "programme") as opened:
        yield opened


def acts(workspace: Workspace) -> list[tuple[object, ...]]:
    query = (
        "SELECT l.email, t.type, t.source FROM activities a JOIN leads l ON l.id = a.lead_id"
        " JOIN touchpoints t ON t.id = a.touchpoint_id ORDER BY l.email, t.type"
    )
    with workspace.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.feature("L8")
def test_a_referral_counts_for_the_referrer_and_makes_the_friend_a_lead(workspace: Workspace, tmp_path: Path) -> None:
    records = lines(
        {**ACT, "message_id": "1", "referred": "Bob@Acme.example"},
        {**ACT, "message_id": "2", "properties": {"referred": "cy@acme.example"}},
        {**ACT, "message_id": "3", "referred": "ADA@acme.example"},
        {**ACT, "message_id": "4", "referred": "no address"},
        {**ACT, "message_id": "5"},
    )
    assert counted(ingest(workspace, "activities", tmp_path / "a.jsonl", records)) == (5, 5, 0, 0)
    expected = [
        *[("ada@acme.example", "referral", None)] * 5,
        ("bob@acme.example", "referred", "referral"),
        ("cy@acme.example", "referred", "referral"),
    ]
    assert acts(workspace) == expected
    with workspace.database.read() as connection:
        said = connection.execute(text("SELECT email, attributes, stage FROM leads ORDER BY email")).all()
        queued = connection.execute(text("SELECT count(*) FROM work_queue WHERE queue = 'score'")).scalar()
    assert [row[0] for row in said] == ["ada@acme.example", "bob@acme.example", "cy@acme.example"]
    assert [orjson.loads(row[1]).get("referred_by") for row in said] == [None, "ada@acme.example", "ada@acme.example"]
    assert {row[2] for row in said} == {"subscriber"}
    assert queued == 3
    assert counted(ingest(workspace, "activities", tmp_path / "b.jsonl", records + "\n")) == (5, 0, 5, 0)
    assert acts(workspace) == expected
