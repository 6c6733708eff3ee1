"""What many refused records have in common: the reason without what was found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.documents import shown
from models.queries.imports import reason_kind

KINDS = {
    "user_id: 3000 bytes in UTF-8; allowed: 1000": "user_id: … bytes in UTF-8; allowed: 1000",
    "column_2: found 'a; b'; allowed: a text": "column_2: found …; allowed: a text",
    "column_3: found {'a': 'x; y'}; allowed: a text": "column_3: found …; allowed: a text",
    "day: found '31'; allowed: a day of month 2": "day: found …; allowed: a day of month 2",
    "occurred_at: 'May 5' is before 1970": "occurred_at: … is before 1970",
    "occurred_at: 9999999999999999 is after 2099": "occurred_at: … is after 2099",
    "occurred_at: '31.2.' is not a time (%d.%m.%Y)": "occurred_at: … is not a time (%d.%m.%Y)",
    "5 cells; the header has 6": "… cells; the header has 6",
    "nested deeper than 64": "nested deeper than 64",
    "e-mail 'o@x@y' has 2 @; allowed: exactly one": "e-mail … has … @; allowed: exactly one",
    "e-mail 'a@x' is longer than 64 before @ or 254 in all": "e-mail … is longer than 64 before @ or 254 in all",
    "not JSON: unexpected character at column 5": "not JSON: unexpected character at column …",
    "JSON that is not an object but [1, 'a@x.example']": "JSON that is not an object but …",
    "not utf-8: byte 0xe9 at 5": "not utf-8: byte … at …",
    "the deal's id is missing": "the deal's id is missing",
    "a record of 2,000,000 bytes; allowed: 1,048,576": "a record of … bytes; allowed: 1,048,576",
}


@pytest.mark.parametrize("reason", KINDS)
def test_a_kind_keeps_fields_and_limits_and_drops_what_was_found(reason: str) -> None:
    assert reason_kind(reason) == KINDS[reason]


@given(st.text(max_size=400))
def test_a_kind_never_shows_what_was_found(found: str) -> None:
    assert reason_kind(f"e-mail {shown(found)}: not a domain name") == "e-mail …: not a domain name"
    assert reason_kind(f"name2: found {shown(found)}; allowed: a text") == "name2: found …; allowed: a text"
