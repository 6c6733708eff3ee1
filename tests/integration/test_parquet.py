"""Parquet: the same records as a CSV of the same table, values of every kind, and what is said without the extra."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from models.errors import InputError
from models.workspace import Workspace
from tasks import readers
from tasks.sources import Reader, opened
from tests.ingest_world import counted, facts, ingest, workspace_on

pytestmark = pytest.mark.feature("I1")


@pytest.fixture
def workspace(sqlite_template: Path, tmp_path: Path) -> Iterator[Workspace]:
    with workspace_on(f"sqlite:///{tmp_path / 'one.db'}", tmp_path / "programme") as one:
        yield one


def written(path: Path, columns: dict[str, Any], **how: Any) -> Path:
    parquet.write_table(pa.table(columns), path, **how)
    return path


def records(path: Path) -> list[readers.Raw]:
    with opened(readers.survey(path), Reader("activities", "generic", None)) as found:
        return list(found.raw)


def test_a_table_says_the_same_as_parquet_and_as_csv(workspace: Workspace, tmp_path: Path) -> None:
    day = datetime(2025, 3, 1, tzinfo=UTC)
    rows = [(f"p{n}@x.example", f"Ana {n}", 10 + n, day.replace(hour=n % 24), n % 3 or None) for n in range(50)]
    emails, names, sizes, times, gaps = zip(*rows, strict=True)
    columns = {
        "E-Mail": emails,
        "first name": names,
        "employees": sizes,
        "created_at": pa.array(times, pa.timestamp("ns", "UTC")),
        "visits": pa.array([None if one is None else float(one) for one in gaps]),
    }
    table = written(tmp_path / "leads.parquet", columns, row_group_size=7, compression="zstd")
    lines = ["E-Mail,first name,employees,created_at,visits"]
    lines += [f"{email},{name},{size},{at.isoformat()},{gap or ''}" for email, name, size, at, gap in rows]
    assert counted(ingest(workspace, "leads", table)) == (50, 50, 0, 0)
    assert counted(ingest(workspace, "leads", table)) == (50, 0, 50, 0)
    with workspace_on(f"sqlite:///{tmp_path / 'two.db'}", tmp_path / "other") as other:
        ingest(other, "leads", tmp_path / "leads.csv", "\n".join(lines))
        one, two = facts(workspace.database), facts(other.database)
        assert [row[1:5] for row in one["leads"]] == [row[1:5] for row in two["leads"]]
        assert len(one["identities"]) == len(two["identities"]) == 50


def test_values_of_every_kind_become_what_json_has(tmp_path: Path) -> None:
    columns = {
        "id": pa.array([7.0, None], pa.float64()),
        "email": pa.array(["a@x.example", "b\x00@x.example"]).dictionary_encode(),
        "amount": pa.array([Decimal("12.50"), Decimal("3.00")]),
        "day": pa.array([date(2025, 3, 1), None]),
        "occurred_at": pa.array([datetime(2025, 3, 1, tzinfo=UTC), None], pa.timestamp("us", "Europe/Berlin")),
        "tags": [["x", "y"], []],
        "plan": [{"name": "pro", "seats": 5}, None],
        "raw": [b"ok", None],
        "ratio": [float("nan"), 0.25],
        "far": pa.array([1, 10**15], pa.timestamp("s")),
    }
    first, second = records(written(tmp_path / "t.parquet", columns))
    assert first.data == {
        "id": 7,
        "email": "a@x.example",
        "amount": 12.5,
        "day": "2025-03-01",
        "occurred_at": "2025-03-01T01:00:00+01:00",
        "tags": ["x", "y"],
        "plan": {"name": "pro", "seats": 5},
        "raw": "ok",
        "ratio": None,
        "far": "1970-01-01T00:00:01",
    }
    assert (second.line, second.data) == (2, None) and "far: a value that cannot be read" in (second.reason or "")


def test_what_cannot_be_read_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(tmp_path / "whole.parquet", {"email": ["a@x.example"]})
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a Parquet file that can be read"):
        records(torn)
    (tmp_path / "text.parquet").write_text("email\na@x.example\n")
    with pytest.raises(InputError, match="does not begin like one"):
        records(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="none of the columns that say who"):
        records(written(tmp_path / "strange.parquet", {"x": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'warmline\[parquet\]'"):
        records(whole)
