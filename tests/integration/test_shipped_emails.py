"""Every e-mail that we ship: no mistakes or doubts, valid MJML by its makers' checker, no spam by SpamAssassin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import playbooks
import templates
from models.queries.messages import Leased
from models.rules.notification import least_known
from models.rules.outbox import MessageKind
from models.workspace import Workspace
from tasks.composition import Composer, Letter
from tasks.linting import lint
from tasks.mjml import plain_mjml
from tasks.rendering import Templates, templates_of
from tests.mail_world import ALERT

PLAYBOOKS = Path(playbooks.__file__).parent
NAMES = sorted(path.parent.name for path in PLAYBOOKS.glob("*/warmline.yaml"))
NOW = 1_790_000_000_000_000
MOST_SPAM = 2.0


def opened(name: str, folder: Path) -> Workspace:
    shutil.copytree(PLAYBOOKS / name, folder / name)
    return Workspace.open(folder / name, {"base_url": "https://go.warmline.example"})


@pytest.fixture(params=NAMES)
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("WARMLINE_SECRET_KEY", "a secret of the tests")
    return opened(request.param, tmp_path)


def letters(workspace: Workspace) -> Iterator[tuple[str, bytes]]:
    """Each mail of the workspace in each of its languages, as it leaves; and the notification of a salesperson."""
    sender = workspace.settings.sender
    made = templates_of(workspace)
    composer = Composer(made, sender, workspace.settings.base_url, workspace.secret_key)
    facts = least_known({"name": sender.name, "email": sender.email, "postal_address": sender.postal_address})
    sent = sorted({folder for one in workspace.sequences.values() for folder in one.folders})
    mails = [(name, language) for name in sent for language in made.languages(name)]
    for name, language in [*mails, ("sales_notification", None)]:
        lead = {**facts["lead"], "first_name": "Zoë", "language": language}
        is_alert = name == "sales_notification"
        payload = ALERT if is_alert else {**facts, "lead": lead}
        kind = MessageKind.ALERT if is_alert else MessageKind.NURTURE
        packed = orjson.dumps(payload).decode()
        leased = Leased(1, name, kind, 1, "zoe@northwind.example", name, packed, f"<{name}@x.example>", 0, NOW)
        letter = composer.compose(leased, NOW)
        assert isinstance(letter, Letter), letter
        yield f"{name} {language or ''}", letter.content


@pytest.mark.feature("N4")
def test_no_shipped_mail_has_a_mistake_or_a_doubt(workspace: Workspace) -> None:
    assert lint(workspace) == []


def test_each_language_of_a_playbook_has_every_mail(workspace: Workspace) -> None:
    made = templates_of(workspace)
    sent = sorted({folder for one in workspace.sequences.values() for folder in one.folders})
    assert len({tuple(made.languages(name)) for name in sent}) == 1


def test_spamassassin_finds_nothing_in_any_shipped_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("spamassassin")
    if program is None:
        assert not os.environ.get("CI"), "spamassassin is missing (apt-get install spamassassin)"
        pytest.skip("spamassassin is not installed: what it thinks of our mail is not known")
    monkeypatch.setenv("WARMLINE_SECRET_KEY", "a secret of the tests")
    found = [letter for name in NAMES for letter in letters(opened(name, tmp_path))]
    # One process for all: it reads its rules for two seconds.
    begin = b"From zoe@northwind.example Sat Nov 21 12:00:00 2026\n"
    mbox = b"\n".join(begin + content.replace(b"\r\n", b"\n") for _, content in found)
    done = subprocess.run([program, "-L", "-t", "--mbox"], input=mbox, capture_output=True, check=True, timeout=300)
    scores = re.findall(
        rb"^X-Spam-Status: \w+, score=(-?[\d.]+) .*?tests=([\w,\s]+?)autolearn", done.stdout, re.M | re.S
    )
    assert len(scores) == len(found)
    spam = [(name, *one) for (name, _), one in zip(found, scores, strict=True) if float(one[0]) >= MOST_SPAM]
    assert spam == []


def test_the_checker_of_mjml_accepts_every_shipped_source(tmp_path: Path) -> None:
    program = shutil.which("mjml")
    if program is None:
        pytest.skip("npm's mjml is not installed: our own check of MJML stands alone (tests/unit/test_mjml.py)")
    files = []
    for folder in [*PLAYBOOKS.glob("*/emails"), Path(templates.__file__).parent]:
        made = Templates(folder)
        for file in sorted(folder.rglob("*.mjml.j2")):
            if file.name.startswith("body"):
                name = file.relative_to(folder).as_posix()
                language = file.name.split(".")[1]
                pieces = made.pieces(name, None if language == "mjml" else language)
                plain = tmp_path / f"{len(files)}.mjml"
                plain.write_text(plain_mjml(pieces))
                files.append(str(plain))
    assert files
    done = subprocess.run([program, "--validate", *files], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
