"""Actions as their file writes them: what may be said, which crossing calls for them, which names must agree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import playbooks
from models.documents import ConfigurationError, Document
from models.rules.actions import MOST_A_DAY, Action, Crossing
from models.rules.conditions import Facts
from models.rules.instants import DAY, HOUR
from models.rules.lifecycle import Lifecycle
from models.workspace import Workspace

STAGES = "name: one\nstages:\n  marketing_qualified: {enter: {total: 10}}\n  sales_qualified: {enter: {total: 20}}\n"


def lifecycle(actions: str) -> Lifecycle:
    return Lifecycle.load(Document.parse(f"{STAGES}actions:\n{actions}", "lifecycle.yaml"))


def action(text: str) -> Action:
    return lifecycle(f"  - {{name: a, {text}}}\n").actions[0]


def crossing(of: str, before: str | None, after: str | None, model: str | None = None) -> Crossing:
    return Crossing("k", of, 1, model, before, after, 0, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on_enter: {stage: customer}, on_leave: {stage: lead}, do: {tag: x}", "exactly one of on_enter, on_leave"),
        ("do: {tag: x}", "exactly one of on_enter, on_leave"),
        ("on_enter: {stage: customer, band: hot}, do: {tag: x}", "exactly one of stage, band, grid"),
        ("on_enter: {stage: customer, model: m}, do: {tag: x}", "`model` goes with `band` and `grid`"),
        ("on_enter: customer, do: {tag: x}", "allowed: one of stage, band, grid"),
        ("on_enter: {stage: customer}, do: {tag: x, untag: y}", "exactly one of enrol"),
        ("on_enter: {stage: customer}, do: {enroll: x}", "did you mean"),
        ("on_enter: {stage: customer}, do: {tag: 'a, b'}", "tag"),
        ("on_enter: {stage: customer}, do: []", "do"),
        ("on_enter: {stage: customer}, do: {tag: x}, else: {tag: y}", "`else` goes with `when`"),
        ("on_enter: {stage: customer}, do: {tag: x}, at_most_every: soon", "30d"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        action(text)
    assert said in str(refused.value)
    assert "lifecycle.yaml:6" in str(refused.value)


@pytest.mark.feature("L7")
def test_an_action_is_called_by_the_border_of_what_it_names() -> None:
    enter, leave = action("on_enter: {band: [hot, warm]}, do: {tag: x}"), action("on_leave: {grid: A1}, do: {tag: x}")
    assert enter.is_called_by(crossing("band", None, "hot", "m"), "m")
    assert enter.is_called_by(crossing("band", "cold", "warm", "m"), "m")
    assert not enter.is_called_by(crossing("band", "warm", "hot", "m"), "m")
    assert not enter.is_called_by(crossing("band", "cold", "hot", "other"), "m")
    assert not enter.is_called_by(crossing("grid", "cold", "hot", "m"), "m")
    assert leave.is_called_by(crossing("grid", "A1", "B1", "m"), "m")
    assert not leave.is_called_by(crossing("grid", "B1", "A1", "m"), "m")


def test_what_it_does_hangs_on_its_condition() -> None:
    one = action("on_enter: {stage: customer}, when: {total: 50}, do: {tag: big}, else: {tag: small}")
    assert [effect.tag for effect in one.chosen(Facts("customer", 60.0))] == ["big"]
    assert [effect.tag for effect in one.chosen(Facts("customer", 40.0))] == ["small"]
    assert action("on_enter: {stage: customer}, when: {total: 50}, do: {tag: x}").chosen(Facts("customer")) == []


def test_an_action_that_feeds_back_ends_and_one_that_does_not_goes_on() -> None:
    adjusts, tells = (action(f"on_enter: {{band: hot}}, do: {{{what}}}") for what in ("adjust: x", "notify: owner"))
    often = [10 * DAY - number * HOUR for number in range(MOST_A_DAY)]
    assert "call itself" in adjusts.passed_over(often, 10 * DAY)
    assert adjusts.passed_over(often, 12 * DAY) == ""
    assert tells.passed_over(often * 9, 10 * DAY) == ""


def test_actions_change_nobodys_stage_so_nobody_is_routed_anew_for_them() -> None:
    some = lifecycle("  - {name: a, on_enter: {stage: customer}, do: {tag: x}}\n")
    none = Lifecycle.load(Document.parse(STAGES, "lifecycle.yaml"))
    assert some.content() == none.content()


def make(root: Path, actions: str, settings: str = "", rule: str = "") -> Workspace:
    """The playbook mql-sql with actions, and a rule in a dimension of its own that counts for the total."""
    shutil.copytree(Path(playbooks.__file__).parent / "mql-sql", root)
    for file, more in (("lifecycle.yaml", actions), ("warmline.yaml", settings)):
        (root / file).write_text((root / file).read_text() + more)
    if rule:
        scoring, total = (root / "scoring.yaml").read_text(), "\ntotal: [fit, engagement]"
        more = f"\n  extra: {{groups: {{all: {{rules: [{rule}]}}}}}}\n{total[:-1]}, extra]"
        (root / "scoring.yaml").write_text(scoring.replace(total, more))
    return Workspace.open(root)


@pytest.mark.parametrize(
    ("more", "limit", "is_doubted"),
    [("", "", True), ("at_most_every: 7d, ", "", False), ("", ", at_most: 1", False)],
)
def test_an_action_that_takes_itself_back_is_doubted(tmp_path: Path, more: str, limit: str, is_doubted: bool) -> None:
    actions = f"actions:\n  - {{name: cool, {more}on_enter: {{band: hot}}, do: {{adjust: cooled}}}}\n"
    rule = f"{{name: cooled, on: score_adjusted, where: {{name: cooled}}, points: -30{limit}}}"
    workspace = make(tmp_path / "works", actions, rule=rule)
    assert workspace.check() == []
    told = [str(doubt) for doubt in workspace.doubts() if "call itself" in str(doubt)]
    assert bool(told) == is_doubted
    if told:
        assert "lifecycle.yaml:" in told[0]
        assert "by -30 each time" in told[0]


NAMES = """actions:
  - name: a
    on_enter: {stage: custmer}
    do:
      - enrol: welcom
      - notify: Priya Rahman
      - webhook: crn
      - adjust: nothing
  - {name: a, on_leave: {band: hott}, do: {tag: x}}
  - {name: b, on_leave: {model: loyal, band: hot}, do: {notify: {to: owner, template: nowhere}}}
  - {name: c, on_enter: {grid: Z9}, when: {dimension: {fitt: 3}}, do: {tag: x}}
"""


def test_names_that_nothing_has_are_told_with_line_and_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARMLINE_WEBHOOK_SECRET_CRM", "whsec_" + "A" * 32)
    root = tmp_path / "works"
    make(root, NAMES, "webhooks: {crm: {url: 'https://crm.example.com/'}}\n")
    lines = (root / "lifecycle.yaml").read_text().splitlines()
    begin = lines.index("actions:") + 1
    told = {problem.line: str(problem) for problem in Workspace.open(root).check()}
    assert {line - begin for line in told if line} >= {2, 4, 5, 6, 7, 8, 9, 10}
    for line, words in ((2, "customer"), (4, "welcome"), (5, "Priya Raman"), (6, "crm"), (7, "score_adjusted")):
        assert words in told[begin + line]
    assert "did you mean" in told[begin + 4]
