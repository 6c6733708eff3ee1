"""`warmline audience` and `warmline audiences` as a person types them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from tests.commands import warmline


@pytest.mark.feature("N9")
def test_a_segment_is_counted_exported_and_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "works"
    warmline("init", folder)
    leads = tmp_path / "leads.csv"
    leads.write_text("email,country\nana@x.example,GB\nbob@x.example,GB\ncho@x.example,KR\n")
    warmline("ingest", "leads", leads, folder=folder)
    (folder / "audiences").mkdir()
    (folder / "audiences" / "gb.yaml").write_text("description: Britons\nwho: {if: {country: GB}}\n")
    warmline("suppress", "bob@x.example", "--reason", "asked", folder=folder)
    assert warmline("audience", "gb", folder=folder).stdout == "gb: 1 member; left out: suppressed 1\n"
    words = ("audience", "gb", "--to", tmp_path / "gb.csv", "--columns", "email_sha256,country", "--json")
    assert orjson.loads(warmline(*words, folder=folder).stdout) == {
        "audience": "gb",
        "to": str(tmp_path / "gb.csv"),
        "members": 1,
        "added": 1,
        "removed": 0,
        "left_out": {"suppressed": 1},
    }
    digest = sha256(b"ana@x.example").hexdigest()
    assert (tmp_path / "gb.csv").read_text() == f"email_sha256,country\n{digest},GB\n"
    listed = warmline("audiences", folder=folder).stdout.splitlines()
    assert listed[:2] == ["gb: 1 member; left out: suppressed 1", "  Britons"]
    assert listed[2].endswith(" to file: 1, 1 added, 0 removed")
    words = ("audience", "--if", "{if: {country: KR}}", "--to", tmp_path / "kr.csv")
    assert "1 member" in warmline(*words, folder=folder).stdout
    assert (tmp_path / "kr.csv").read_text().count("\n") == 2
    assert "did you mean 'gb'" in warmline("audience", "gbr", folder=folder, code=2).stderr
    assert "ENDPOINT" in warmline("audience", "gb", "--to", "x.txt", folder=folder, code=2).stderr
