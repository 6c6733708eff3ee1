"""Configuration is read as YAML 1.2, and every mistake is told at once with its line."""

import pytest
from pydantic import BaseModel, ConfigDict

from models.documents import ConfigurationError, Document


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
        "f.yaml:3: relay.port: found 'x'; input should be a valid integer, unable to parse string as an integer",
        "f.yaml:6: numbers.1: found 'two'; input should be a valid integer, unable to parse string as an integer",
    ]


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="f:2: not valid YAML"):
        Document.parse("a: 1\na: 2", "f")


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t", "&a [*a", "a: !!python/object:os.system x", "- [" * 3000])
def test_broken_yaml_is_a_mistake_and_never_a_crash(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Document.parse(text, "f").validate(File)


def test_a_long_value_is_quoted_short() -> None:
    assert len(told(f"relay: {{host: a, port: {'9x' * 5000}}}")[0]) < 300
