"""`warmline bounces` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import warmline
from tests.returned_world import MADE, World, returning_workspace


def bounces(folder: Path, *words: str | Path) -> str:
    return warmline("bounces", *words, cwd=folder).stdout


@pytest.mark.feature("N7")
def test_a_folder_of_mails_is_classified_without_a_workspace_and_taken_into_one(tmp_path: Path) -> None:
    told = [json.loads(line) for line in bounces(tmp_path, "classify", MADE, "--json").splitlines()]
    assert len(told) == len(list(MADE.glob("*.eml")))
    first = next(one for one in told if one["file"].endswith("postfix-unknown-user.eml"))
    assert (first["kind"], first["severity"], first["status"]) == ("bounce", "hard", "5.1.1")
    said = [(one["recipient"], one["severity"], one["effect"]) for one in first["recipients"]]
    assert said == [
        ("ann@acme.example", "hard", "suppress the address"),
        ("bob@acme.example", "soft", "none; held if it lasts"),
    ]
    assert "hard 5.1.1 ann@acme.example: unknown user" in bounces(tmp_path, "classify", MADE)

    world = World(returning_workspace(tmp_path, "sqlite:///w.db"))
    mails = tmp_path / "mails"
    mails.mkdir()
    (mails / "1.eml").write_bytes(world.made("qmail-unknown-user", 1, world.send(1)))
    (mails / "2.eml").write_bytes(b"\xff")
    world.workspace.database.close()
    counts = json.loads(bounces(tmp_path, "ingest", mails, "--json"))
    assert counts == {"mails": 2, "new": 2, "read": 2, "bounce": 1, "bounced hard": 1, "suppressed": 1, "kept": 1}
    assert "look at it" in bounces(tmp_path, "list", "--state", "kept")
    shown = warmline("messages", folder=tmp_path).stdout
    assert "bounced: hard 5.1.1" in shown
