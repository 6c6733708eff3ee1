"""What an audience's file may say, how its members are hashed, and what a cell of a CSV may hold."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from models.documents import ConfigurationError, Document
from models.rules.audiences import Audience, cell, told

EXAMPLE = (Path(__file__).parents[2] / "docs" / "audiences.md").read_text(encoding="utf-8")


def load(text: str) -> Audience:
    return Audience.load(Document.parse(text, "audiences/a.yaml"))


@pytest.mark.feature("N9")
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("  =cmd|' /C calc'!A0", "'  =cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "' =1"),
        ("a\r\n=1", "a  =1"),
        ("+44 20 7946-0018", "+44 20 7946-0018"),
        ("-12.5", "-12.5"),
        (-12.5, "-12.5"),
        (None, ""),
        (True, "true"),
        (["a", 5], "a, 5"),
        ('Zoë, "x"', 'Zoë, "x"'),
    ],
)
def test_no_cell_is_a_formula(value: Any, written: str) -> None:
    assert cell(value) == written


@pytest.mark.feature("N9")
def test_hashes_are_those_that_ad_platforms_make() -> None:
    known = {"email": "Ana@X.example", "first_name": " Zoë  Maria ", "phone": "0049 (30) 123-45", "mobile": "030 123"}
    names = ["email_sha256", "first_name_sha256", "phone_sha256", "mobile_sha256", "city_sha256", "city"]
    found = told({name: name for name in names}, known)
    hashes = [sha256(text.encode()).hexdigest() for text in ("ana@x.example", "zoë maria", "+493012345")]
    assert found == [*hashes, None, None, None]


@pytest.mark.feature("N9")
def test_the_example_of_the_docs_is_read() -> None:
    example = load(EXAMPLE.partition("```yaml\n")[2].partition("```")[0])
    assert example.columns == {"Email": "email_sha256", "Country": "country"} and example.require == "opt_in"
    assert "band hot or warm" in example.who.described() and len(list(example.who.questions())) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("who: {}\n", "everybody is no audience"),
        ("who: {stages: [custmer]}\n", "did you mean 'customer'"),
        ("who: {band: hot}\nto: {file: ../x.csv}\n", "within the workspace"),
        ("who: {band: hot}\nto: {file: x.csv, webhook: ads}\n", "exactly one of"),
        ("who: {band: hot}\nto: {}\n", "exactly one of"),
        ("who: {band: hot, did: {on: a, since: entry}}\n", "since"),
        ("who: {band: hot}\nrequire: maybe\n", "require"),
        ("band: hot\n", "who: missing"),
    ],
)
def test_mistakes_are_told(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load(text)
