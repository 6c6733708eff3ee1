"""What is an e-mail address, and in which one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.addresses import MAX_LENGTH, normalise


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Ana@Acme.EXAMPLE ", "ana@acme.example"),
        ("mailto:a.b+c@x.example", "a.b+c@x.example"),
        ("ana@straße.example", "ana@xn--strae-oqa.example"),
        ("e\u0301@x.example", "\u00e9@x.example"),
        ("ana@x.example.", "ana@x.example"),
        ("o'hara@x.example", "o'hara@x.example"),
        ("ана@пример.example", "ана@xn--e1afmkfd.example"),
    ],
)
@pytest.mark.feature("I1")
def test_an_address_has_one_spelling(sent: str, kept: str) -> None:
    assert normalise(sent) == kept


@pytest.mark.parametrize(
    "sent",
    ["", " ", "ana", "a@b", "a@@b.example", "a@b@c.example", "x..y@a.example", ".a@b.example", "a b@x.example",
     "a@1.2.3.4", "a@-x.example", "a@x_y.example", "a\x00b@x.example", "a\u200bb@x.example", "a" * 65 + "@x.example",
     "a@" + "x" * 64 + ".example", "a@" + "x." * 130 + "example", "@x.example", "a@",
     '"a b"@x.example', "<a@b.example>"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_a_reason(sent: str) -> None:
    with pytest.raises(ValueError, match="e-mail"):
        normalise(sent)


@given(st.text(max_size=80) | st.from_regex(r"\A[\w.+-]{1,20}@[\w.-]{1,30}\Z"))
def test_any_text_is_an_address_or_refused_and_the_spelling_is_final(text: str) -> None:
    try:
        kept = normalise(text)
    except ValueError:
        return
    assert normalise(kept) == kept and len(kept) <= MAX_LENGTH and kept.count("@") == 1
