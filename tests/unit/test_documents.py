"""Configuration is read as YAML 1.2, and every mistake is told at once with its line."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from models.documents import ConfigurationError, Document, read_beside


class Relay(BaseModel):
    model_config = ConfigDict(extra="forbid")
    host: str
    port: int = 25


class File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    relay: Relay
    numbers: list[int] = []


def told(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Document.parse(text, "f.yaml").validate(File)
    return [str(problem) for problem in caught.value.problems]


def test_on_and_no_are_text() -> None:
    assert Document.parse("on: NO\n2: yes\n'3': off", "f").data == {"on": "NO", "2": "yes", "3": "off"}


def test_a_date_is_text() -> None:
    assert Document.parse("day: 2026-03-01", "f").data == {"day": "2026-03-01"}


def test_all_mistakes_are_told_with_their_lines() -> None:
    assert told("relay:\n  prot: 5\n  port: x\nnumbers:\n  - 1\n  - two\n") == [
        "f.yaml:1: relay.host: missing, and required",
        "f.yaml:2: relay.prot: unknown field — did you mean 'port'? (allowed: host, port)",
        "f.yaml:3: relay.port: found 'x'; allowed: a whole number",
        "f.yaml:6: numbers.1: found 'two'; allowed: a whole number",
    ]


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="f:2: not valid YAML"):
        Document.parse("a: 1\na: 2", "f")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n\tb: 1\n", "f:2: not valid YAML: a tab; indent with spaces"),
        (
            "a:\n    b: 1\n  c: 2\n",
            "f:3: not valid YAML: indented by 2 spaces, but what it stands in (from line 1) by 0: "
            "this line or one above it is misplaced",
        ),
        ('a: 1\nb: "x\nc: 2\n', "f:2: not valid YAML: the quote that opens here is never closed"),
        ("a: {b: >50}", "f:1: not valid YAML: a value cannot begin with >; put the text in quotes"),
        ("a: {b: 1\nc: 2\n", "f:2: not valid YAML: a comma is missing before it, or the { of line 1 is not closed"),
        ("a: [1}", "f:1: not valid YAML: a comma is missing before it, or the [ of line 1 is not closed"),
        ("a: {b: 1}}", "f:1: not valid YAML: } closes what was never opened"),
        ("- a\nb: 1\n", "f:2: not valid YAML: a list (- …) and fields (name: …) side by side, from line 1 on"),
        ('a: "\\d"', "f:1: not valid YAML: \\d in double quotes; in single quotes a \\ is only a \\"),
        ("a: *x", "f:1: not valid YAML: *x is declared nowhere; a text that begins with * needs quotes"),
        ("a: 1\nb\nc: 2\n", "f:2: not valid YAML: a name without `: ` and a value"),
        ("a: 1\na: 2\n", "f:2: not valid YAML: a stands twice"),
        ("a: 1\n---\nb: 2\n", "f:2: not valid YAML: a second document begins (---); allowed: one in a file"),
    ],
)
def test_a_mistake_of_yaml_is_told_in_words_and_with_the_line_to_mend(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Document.parse(text, "f")
    assert str(caught.value) == told


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t", "&a [*a", "a: !!python/object:os.system x", "- [" * 3000])
def test_broken_yaml_is_a_mistake_and_never_a_crash(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Document.parse(text, "f").validate(File)


def test_a_long_value_is_quoted_short() -> None:
    assert len(told(f"relay: {{host: a, port: {'9x' * 5000}}}")[0]) < 300


def test_a_list_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rivals.txt").write_bytes("a.example\nmüller.example\n".encode("latin-1"))
    with pytest.raises(OSError, match="line 2 is not UTF-8; save the file as UTF-8"):
        read_beside("rivals.txt", tmp_path)


def test_a_list_that_is_missing_is_looked_for_by_name_in_every_folder(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "rivals.txt").touch()
    with pytest.raises(OSError, match=r"did you mean 'rivals\.txt'"):
        read_beside("rival.txt", tmp_path / "elsewhere", tmp_path / "workspace")
