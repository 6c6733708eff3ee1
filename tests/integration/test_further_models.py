"""Models of scoring/: read beside scoring.yaml, their mistakes told all at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import playbooks
from models.documents import ConfigurationError
from models.workspace import Workspace

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
