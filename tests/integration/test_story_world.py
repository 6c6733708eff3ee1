"""The playbooks are in order, their READMEs tell the truth, and a story that leaves something out says so."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import playbooks
from cli import init
from models.rules.notification import least_known
from models.workspace import SETTINGS_FILE, Workspace
from tasks.rendering import Rendered, Templates
from tests.story_world import act, playing_in, trial_of

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in Path(playbooks.__file__).parent.glob(f"*/{SETTINGS_FILE}"))


@pytest.mark.parametrize("name", NAMES)
def test_a_new_workspace_has_no_mistakes_and_no_warnings(name: str, tmp_path: Path) -> None:
    init.make(tmp_path / "shop", name)
    workspace = Workspace.open(tmp_path / "shop")
    assert workspace.check() == []
    assert workspace.doubts() == []


def test_the_documents_name_every_playbook() -> None:
    for file in ("README.md", "docs/commands.md"):
        told = (ROOT / file).read_text(encoding="utf-8")
        assert [name for name in NAMES if name not in told] == []


def test_a_wheel_holds_every_file_of_every_playbook() -> None:
    """Package data are taken whole, and nothing of it is kept out of git."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "playbooks" in config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    patterns = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line]
    files = [path.relative_to(ROOT) for name in NAMES for path in (ROOT / "playbooks" / name).rglob("*")]
    assert len(files) > 100
    assert [path for path in files for part in path.parts if any(fnmatch(part, one) for one in patterns)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_mail_renders_where_nothing_is_known_of_a_lead(name: str) -> None:
    templates = Templates(Path(playbooks.__file__).parent / name / "emails")
    known = least_known({"name": "Ours", "email": "us@ours.example", "postal_address": "1 Quay Street"})
    for folder in sorted(path.name for path in templates.folder.iterdir()):
        done = templates.render(folder, known)
        assert isinstance(done, Rendered), done
        assert "None" not in done.subject + done.text
        assert "Quay Street" in done.text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "balanced-hundred",
            {"anna@lakeside.example": (85, "sales_qualified"), "ben@millrace.example": (85, "marketing_qualified")},
        ),
        (
            "hot-warm-cold",
            {"alma@sol.example": (80, "sales_qualified"), "edu@lua.example": (10, "lead")},
        ),
        (
            "fit-activity-grid",
            {"ada@auwerk.example": (170, "sales_qualified"), "dora@nowhere.example": (0, "subscriber")},
        ),
        ("mql-sql", {"ana@northbeam.example": (70, "sales_qualified"), "ben@tidewater.example": (27, "lead")}),
        ("shop-journey", {"alma@petit.example": (58, "sales_qualified"), "boris@garage.example": (3, "lead")}),
    ],
)
async def test_the_example_of_the_readme_comes_out_as_it_says(
    name: str, told: dict[str, tuple[float, str]], tmp_path: Path
) -> None:
    root = trial_of(name, tmp_path)
    async with playing_in(root, f"sqlite:///{tmp_path / 'trial.db'}", [(0, {})]) as played:
        assert {email: (played.lead(email).total, played.lead(email).stage) for email in played.seen} == told
        assert {email: bool(played.reps(email)) for email in told} == {
            email: stage == "sales_qualified" for email, (_, stage) in told.items()
        }


async def test_what_no_lead_of_a_story_meets_is_named(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    init.make(root, "mql-sql")
    model = (root / "scoring.yaml").read_text()
    rule = "- {name: newcomer, on: event_attended, points: 3}"
    (root / "scoring.yaml").write_text(model.replace("- {name: replied,", f"{rule}\n          - {{name: replied,"))
    story = [(0, {"activities": [act("ana@northbeam.example", "demo_request", 0)]})]
    async with playing_in(root, f"sqlite:///{tmp_path / 'story.db'}", story) as played:
        unused = played.unused()
    assert "rule demo" not in unused
    assert {
        "rule newcomer",
        "rule visits at 6",
        "must served-country not met",
        "band hot",
        "enter sales_qualified: total ≥ 65",
        "leave marketing_qualified: total < 28",
        "step 5 of welcome",
        "exit of evaluation: did meeting",
        "mail evaluation-shall-we-talk",
        "rep priya.raman@harbourline.example",
    } <= set(unused)
