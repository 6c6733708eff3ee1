"""What is remembered of leads answers for as long as they read the same, and never for another lead."""

from __future__ import annotations

from random import Random
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from models.documents import Document
from models.rules.scoring import attributes, load_scoring, memory
from models.rules.scoring.columns import Chunk, Leads, Objects
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.kernel import score

MODEL = """
name: m
version: 1
dimensions:
  fit:
    groups:
      all:
        rules:
          - {name: country, if: {country: [US, CA]}, points: 10}
          - {name: size, if: {employees: {from: 50}}, points: 5}
          - {name: mail, if: {email_domain: acme.example}, points: 3}
          - {name: old, if: {days_since_created: {above: 30}}, points: 1}
          - {name: rich, if: {account.revenue: {from: 7}}, points: 20}
"""
DAY = 86_400_000_000


def chunk(ids: list[int], told: dict[int, dict[str, object]]) -> Chunk:
    def attributes(key: int) -> dict[str, object]:
        return {name: told[key][name] for name in ("country", "employees")}

    return Chunk(
        Leads(
            ids=np.array(ids, np.int64),
            attributes=Objects([orjson.dumps(attributes(key)).decode() for key in ids]),
            emails=[str(told[key]["email"]) for key in ids],
            stages=[None] * len(ids),
            owners=[None] * len(ids),
            created_at=np.zeros(len(ids), np.int64),
            accounts=[{"revenue": told[key]["revenue"]} for key in ids],
        )
    )


@pytest.mark.parametrize("spread", [1, memory.SLOTS // 8, 3])
def test_a_model_that_remembers_scores_as_one_that_does_not(spread: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "FEW", 0)
    r = Random(spread)
    model = load_scoring(Document.parse(MODEL, "scoring.yaml"), lambda path: "")
    remembering = CompiledModel(model, ZoneInfo("UTC"))
    told: dict[int, dict[str, object]] = {}
    for turn in range(40):
        ids = sorted(r.sample(range(1, 25), r.randint(1, 24))) if turn % 4 else list(range(1, 25))
        ids = [key * spread for key in ids]  # some stand in one place, where they are far apart
        for key in ids:
            if key not in told or r.random() < 0.2:
                told[key] = {
                    "country": r.choice(("US", "DE", None)),
                    "employees": r.choice((5, 50, "60", None)),
                    "email": r.choice(("a@acme.example", "b@other.example")),
                    "revenue": r.choice((1, 9)),
                }
        at = r.choice((DAY, 60 * DAY))
        fresh = CompiledModel(model, ZoneInfo("UTC"))
        assert (
            score(remembering, chunk(ids, told), at).total.tolist() == score(fresh, chunk(ids, told), at).total.tolist()
        )
