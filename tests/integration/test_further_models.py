"""Models of scoring/: read beside scoring.yaml, their mistakes told all at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

import playbooks
from models.documents import ConfigurationError
from models.queries import queue, ratings, versions
from models.rules.instants import DAY, Micros
from models.workspace import Workspace
from tasks.intake import ingest_file
from tasks.routing import route
from tasks.scoring import score_leads

MODEL = """name: {name}
of: {of}
dimensions:
  interest: {{groups: {{all: {{rules: [{{name: view, on: page_view, points: 2}}]}}}}}}
bands: {{hot: 10, cold: below}}
"""
LIFECYCLE = """name: one
stages:
  marketing_qualified: {{enter: {{total: 35}}}}
  sales_qualified: {{enter: {{all: [{{total: 65}}, {{model: {model}, band: hot}}]}}}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "programme"
    shutil.copytree(Path(playbooks.__file__).parent / "mql-sql", root)
    (root / "scoring").mkdir()
    return root


def put(root: Path, file: str, text: str) -> None:
    (root / "scoring" / file).write_text(text)


@pytest.mark.feature("S10", "S11")
def test_the_models_of_the_folder_stand_beside_that_of_scoring_yaml(root: Path) -> None:
    put(root, "b-loyalty.yaml", MODEL.format(name="loyalty", of="lead"))
    put(root, "a-company.yaml", MODEL.format(name="company", of="account"))
    put(root, "c-deals.yaml", MODEL.format(name="deal-health", of="deal"))
    workspace = Workspace.open(root)
    assert [(name, model.of) for name, model in workspace.models.items()] == [
        ("mql-sql", "lead"),
        ("company", "account"),
        ("loyalty", "lead"),
        ("deal-health", "deal"),
    ]
    assert workspace.models["mql-sql"] is workspace.scoring
    assert workspace.check() == []
    assert workspace.rated == {}


def test_the_mistakes_of_all_models_are_told_at_once(root: Path) -> None:
    put(root, "a.yaml", MODEL.format(name="mql-sql", of="lead"))
    put(root, "b.yaml", MODEL.format(name="b", of="acount"))
    put(root, "c.yaml", MODEL.format(name="c", of="lead").replace("points: 2", "pionts: 2"))
    with pytest.raises(ConfigurationError) as caught:
        _ = Workspace.open(root).models
    said = str(caught.value)
    assert (
        "scoring/a.yaml:1: name: found 'mql-sql', the name of scoring.yaml; every model has a name of its own" in said
    )
    assert "scoring/b.yaml:2: of: found 'acount'" in said
    assert "scoring/c.yaml:4: dimensions.interest.groups.all.rules.0.pionts: unknown field" in said


def test_the_first_model_scores_leads(root: Path) -> None:
    path = root / "scoring.yaml"
    path.write_text("of: account\n" + path.read_text())
    with pytest.raises(ConfigurationError) as caught:
        _ = Workspace.open(root).scoring
    assert "scoring.yaml:1: of: found 'account'; scoring.yaml scores leads" in str(caught.value)


def test_doctor_knows_the_models_that_conditions_name(root: Path) -> None:
    put(root, "company.yaml", MODEL.format(name="company", of="account"))
    path = root / "lifecycle.yaml"
    path.write_text(LIFECYCLE.format(model="compny"))
    problems = [str(problem) for problem in Workspace.open(root).check()]
    assert len(problems) == 1
    assert "no model is named 'compny' — did you mean 'company'? (allowed: mql-sql, company)" in problems[0]
    path.write_text(LIFECYCLE.format(model="company"))
    workspace = Workspace.open(root)
    assert workspace.check() == []
    assert workspace.rated == {"company": "account"}


NOW = Micros(20_600 * DAY)
WIDE = """name: one
stages:
  marketing_qualified:
    enter: {any: [{total: 1000}, {model: company, total: 4}]}
    leave: {model: company, total: {below: 2}}
  sales_qualified: {enter: {any: [{total: 2000}, {model: pipeline, band: hot}]}, leave: {total: {below: 1500}}}
"""


class Programme:
    """A workspace on a database, with files taken in and scored."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        settings = (root / "warmline.yaml").read_text()
        (root / "warmline.yaml").write_text(settings.replace("sqlite:///warmline.db", url))
        (root / "lifecycle.yaml").write_text(WIDE)
        put(root, "company.yaml", MODEL.format(name="company", of="account"))
        put(root, "pipeline.yaml", MODEL.format(name="pipeline", of="deal"))
        self.workspace = Workspace.open(root)

    def reopen(self) -> None:
        self.workspace.database.close()
        self.workspace = Workspace.open(self.root)

    def take(self, kind: str, *records: dict[str, Any]) -> None:
        path = self.root / f"{kind}.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        ingest_file(self.workspace, kind, path, None, NOW, "occurred")

    def view(self, email: str, count: int, at: str = "2026-05-20T10:00:00Z") -> None:
        number = self.rows("SELECT count(*) FROM activities")[0][0]
        views = [
            {"message_id": f"{number + i}", "email": email, "type": "page_view", "occurred_at": at}
            for i in range(count)
        ]
        self.take("activities", *views)

    def score(self) -> dict[str, int]:
        found = score_leads(self.workspace, NOW)
        route(self.workspace, NOW)
        return found

    def totals(self, model: str) -> list[float]:
        return [row[0] for row in self.rows(f"SELECT total FROM scores WHERE model = '{model}' ORDER BY subject_id")]

    def stages(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT stage FROM leads ORDER BY id")]

    def rows(self, sql: str) -> list[Any]:
        with self.workspace.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]


@pytest.fixture
def programme(root: Path, database_url: str) -> Any:
    made = Programme(root, database_url)
    made.take(
        "leads",
        *({"email": f"{name}@x.example", "company": "Acme"} for name in ("ana", "bo")),
        {"email": "cy@x.example"},
    )
    yield made
    made.workspace.database.close()


@pytest.mark.feature("S10", "S11")
def test_the_score_of_the_account_moves_all_its_leads(programme: Programme) -> None:
    programme.score()
    assert programme.totals("company") == [0.0]
    programme.view("ana@x.example", 3)
    counts = programme.score()
    assert (counts["scored mql-sql"], counts["scored company"]) == (1, 1)
    assert programme.totals("company") == [6.0]
    assert programme.stages() == ["marketing_qualified", "marketing_qualified", "subscriber"]
    causes = programme.rows("SELECT DISTINCT cause FROM stage_changes")
    assert causes == [("company: total 6.0 ≥ 4 (mql-sql v1)",)]


@pytest.mark.feature("S11")
def test_a_lead_that_changes_its_employer_takes_what_it_did_along(programme: Programme) -> None:
    programme.view("ana@x.example", 3)
    programme.score()
    programme.take("leads", {"email": "ana@x.example", "company": "Brick"})
    counts = programme.score()
    assert (counts["scored mql-sql"], counts["scored company"]) == (1, 2)
    assert programme.totals("company") == [0.0, 6.0]
    assert programme.stages()[:2] == ["marketing_qualified", "lead"]


@pytest.mark.feature("S10")
def test_the_best_open_deal_speaks_for_its_lead(programme: Programme) -> None:
    programme.view("cy@x.example", 5)
    deal = {"deal_id": "D1", "email": "cy@x.example", "opened_at": "2026-05-01T00:00:00Z"}
    programme.take("deals", deal, {"deal_id": "D2", "company": "Acme", "opened_at": "2026-05-01T00:00:00Z"})
    assert programme.score()["scored pipeline"] == 2
    assert programme.totals("pipeline") == [10.0, 0.0]
    programme.view("bo@x.example", 1)  # of D2's account, which has no contact of its own
    assert programme.score()["scored pipeline"] == 1
    assert programme.totals("pipeline") == [10.0, 2.0]
    with programme.workspace.database.read() as connection:
        found = ratings.read(connection, [1, 2, 3], {"pipeline": "deal", "company": "account"}, NOW)
    assert (found[3]["pipeline"].total, found[2]["company"].total) == (10.0, 2.0)
    assert "pipeline" not in found[2]  # a deal of an account alone speaks for nobody
    programme.take("deals", {"deal_id": "D2", "email": "cy@x.example"})
    assert programme.score()["scored pipeline"] == 2  # both are that lead's now
    assert programme.totals("pipeline") == [10.0, 10.0]


@pytest.mark.feature("S10")
def test_a_model_that_goes_is_forgotten_and_one_that_comes_back_is_scored_anew(programme: Programme) -> None:
    programme.score()
    text_of = (programme.root / "scoring" / "company.yaml").read_text()
    (programme.root / "scoring" / "company.yaml").unlink()
    programme.reopen()
    with programme.workspace.database.write() as connection:
        queue.enqueue(connection, "score_account", [1])
    programme.view("ana@x.example", 2)
    programme.score()
    assert programme.totals("company") == []
    assert programme.rows("SELECT count(*) FROM score_changes") != [(0,)]
    assert programme.rows("SELECT count(*) FROM work_queue") == [(0,)]
    put(programme.root, "company.yaml", text_of)
    programme.reopen()
    assert programme.score()["scored company"] == 1
    assert programme.totals("company") == [4.0]
    with programme.workspace.database.read() as connection:
        assert json.loads(versions.latest(connection, "models", "models") or "{}").keys() == {
            "mql-sql",
            "company",
            "pipeline",
        }


def test_a_touched_lead_stays_queued_until_every_model_has_its_score(
    programme: Programme, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(programme.root, "loyalty.yaml", MODEL.format(name="loyalty", of="lead"))
    programme.reopen()
    programme.score()
    programme.view("ana@x.example", 1)
    from models.queries import scores

    upsert = scores._upsert

    def overtaken(connection: Any, batch: scores.Batch) -> Any:
        return np.zeros(len(batch.scores), bool) if batch.model == "loyalty" else upsert(connection, batch)

    monkeypatch.setattr(scores, "_upsert", overtaken)
    score_leads(programme.workspace, NOW)
    assert programme.rows("SELECT subject_id FROM work_queue WHERE queue = 'score'") == [(1,)]
    monkeypatch.undo()
    assert programme.score()["scored loyalty"] == 1
    assert programme.rows("SELECT count(*) FROM work_queue") == [(0,)]
