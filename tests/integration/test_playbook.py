"""The shipped playbook is in order, means what its README says, and the documents tell the truth about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.documents import Document
from models.rules.instants import DAY
from models.rules.lifecycle import LEGAL, Lifecycle, Stage
from models.rules.sequences import Sequence
from models.rules.team import Team
from models.workspace import Workspace
from tests.reference.columns import scored
from tests.reference.scoring import Person

ROOT = Path(__file__).parents[2]
NOW = 20_000 * DAY + DAY // 2


@pytest.fixture
def playbook(tmp_path: Path) -> Workspace:
    from cli.init import make

    make(tmp_path / "shop", "mql-sql")
    return Workspace.open(tmp_path / "shop")


def points(playbook: Workspace, rule: str, *activities: tuple[str, int]) -> float:
    """Points of one rule for somebody who did these: (type, days ago)."""
    person = Person(activities=[(NOW - days * DAY, {"type": kind}) for kind, days in activities])
    compiled, scores = scored(playbook.scoring, [person], NOW)
    index = next(one.index for one in compiled.rules if one.rule.name == rule)
    return float(scores.rules[index, 0]) / 10_000


def test_the_playbook_has_no_mistakes_and_no_warnings(playbook: Workspace) -> None:
    assert playbook.check() == []
    assert playbook.scoring.warnings == []


@pytest.mark.parametrize(("visits", "worth"), [(1, 0), (2, 3), (5, 3), (6, 6), (20, 6)])
def test_tiers_replace_each_other(playbook: Workspace, visits: int, worth: float) -> None:
    assert points(playbook, "visits", *[("site_visit", day) for day in range(visits)]) == worth


@pytest.mark.parametrize(("days", "worth"), [(7, 10), (8, 5), (30, 5), (31, -5)])
def test_the_last_mail_touch_counts_by_its_age(playbook: Workspace, days: int, worth: float) -> None:
    assert points(playbook, "last-mail-touch", ("email_open", days), ("email_click", 60)) == worth


def test_nobody_qualifies_for_sales_by_fit_or_by_engagement_alone(playbook: Workspace) -> None:
    limits = [playbook.scoring.dimensions[name].limit for name in playbook.scoring.totalled]
    needed = playbook.lifecycle.threshold(Stage.SALES_QUALIFIED)
    assert needed is not None
    assert all(limit is not None and limit < needed for limit in limits)


def test_every_legal_move_is_in_the_documents_and_no_other() -> None:
    text = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z_]+) \| ([a-z_]+) \| ([a-z, ]+) \|$", text, re.M)
    assert {(start, end): frozenset(who.split(", ")) for start, end, who in rows[1:]} == dict(LEGAL)


EFFECTS_SHOWN = ["tag", "enrol", "notify", "webhook"]


def test_the_examples_of_the_documents_are_valid() -> None:
    text = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    lifecycle, team, actions = re.findall(r"```yaml\n(.*?)```", text, re.S)
    nurture = (ROOT / "docs" / "nurture.md").read_text(encoding="utf-8")
    sequence = re.findall(r"```yaml\n(.*?)```", nurture, re.S)[0]
    assert Lifecycle.load(Document.parse(lifecycle, "lifecycle.yaml")).threshold(Stage.SALES_QUALIFIED) == 65
    first, second = Lifecycle.load(Document.parse(lifecycle + actions, "lifecycle.yaml")).actions
    assert ([effect.kind for effect in first.do], second.at_most_every) == (EFFECTS_SHOWN, 30 * DAY)
    assert Team.load(Document.parse(team, "team.yaml")).reps[0].weight == 3
    assert Sequence.load(Document.parse(sequence, "sequences/evaluation.yaml")).steps[0].wait == DAY
