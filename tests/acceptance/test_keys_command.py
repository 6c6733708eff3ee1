"""`warmline keys`: what lets events in is made, told once, listed and revoked."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

from models.rules.collector import key_mistake
from tests.commands import warmline

ELSEWHERE = "segment-write-key-of-before"


@pytest.fixture
def folder(tmp_path: Path, sqlite_template: Path) -> Path:
    shutil.copyfile(sqlite_template, tmp_path / "warmline.db")
    (tmp_path / "warmline.yaml").write_text("sender: {email: hi@warmline.example}\n")
    return tmp_path


def test_a_key_is_printed_alone_and_kept_as_a_digest(folder: Path) -> None:
    key = warmline("keys", "add", "website", folder=folder).stdout.strip()
    assert key_mistake(key) is None
    warmline("keys", "add", "website", "--existing", folder=folder, stdin=f"{ELSEWHERE}\n")
    stored = b"".join(file.read_bytes() for file in folder.glob("warmline.db*"))
    assert key.encode() not in stored
    assert ELSEWHERE.encode() not in stored

    shown = warmline("keys", "list", folder=folder).stdout
    assert key[:8] in shown and key not in shown and "never" in shown
    assert warmline("keys", "revoke", key[:8], folder=folder).stdout == "1 revoked\n"
    listed = orjson.loads(warmline("keys", "list", "--json", folder=folder).stdout)["keys"]
    assert [bool(one["revoked_at"]) for one in listed] == [True, False]
    assert warmline("keys", "revoke", "--source", "website", folder=folder).stdout == "1 revoked\n"


@pytest.mark.parametrize(
    ("words", "stdin", "told"),
    [
        (("add", "two words"), "", "allowed: letters, digits"),
        (("add", "website", "--existing"), "short\n", "allowed: 16 to 200"),
        (("revoke", "wk_nobody"), "", "`warmline keys list`"),
    ],
)
def test_a_mistake_is_told(folder: Path, words: tuple[str, ...], stdin: str, told: str) -> None:
    assert told in warmline("keys", *words, folder=folder, code=2, stdin=stdin).stderr
