"""`warmline audience` and `warmline audiences` as a person types them."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

import playbooks
from models.queries import suppressions
from models.queries.suppressions import NewSuppression
from models.rules.tokens import suppression_digest
from models.workspace import Workspace
from tests.commands import warmline
from tests.ingest_world import NOW, ingest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with three leads, one of them suppressed, and an audience."""
    root = tmp_path / "works"
    shutil.copytree(Path(playbooks.__file__).parent / "mql-sql", root)
    (root / "audiences").mkdir()
    (root / "audiences" / "gb.yaml").write_text("description: Britons\nwho: {if: {country: GB}}\n")
    opened = Workspace.open(root)
    leads = "email,country\nana@x.example,GB\nbob@x.example,GB\ncho@x.example,KR\n"
    ingest(opened, "leads", tmp_path / "leads.csv", leads)
    digest = suppression_digest(opened.secret_key, "bob@x.example")
    with opened.database.write() as connection:
        suppressions.suppress(connection, [NewSuppression(digest, "asked", NOW)])
    opened.database.close()
    return root


@pytest.mark.feature("N9")
def test_a_segment_is_exported_and_remembered(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "gb.csv"
    words = ("audience", "gb", "--to", file, "--columns", "email_sha256,country", "--json")
    assert orjson.loads(warmline(*words, folder=folder).stdout) == {
        "audience": "gb",
        "to": str(file),
        "members": 1,
        "added": 1,
        "removed": 0,
        "left_out": {"suppressed": 1},
    }
    digest = sha256(b"ana@x.example").hexdigest()
    assert file.read_text() == f"email_sha256,country\n{digest},GB\n"
    listed = warmline("audiences", folder=folder).stdout.splitlines()
    assert listed[:2] == ["gb: 1 member; left out: suppressed 1", "  Britons"]
    assert listed[2].endswith(" to file: 1, 1 added, 0 removed")
    words = ("audience", "--if", "{if: {country: KR}}", "--to", tmp_path / "kr.csv")
    assert "1 member" in warmline(*words, folder=folder).stdout
    assert (tmp_path / "kr.csv").read_text().count("\n") == 2
    assert "did you mean 'gb'" in warmline("audience", "gbr", folder=folder, code=2).stderr
