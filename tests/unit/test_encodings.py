"""Encoded words and quoted-printable, read back by the standard library and compared with what it writes."""

from __future__ import annotations

import binascii
import itertools
import quopri
from email.header import Header, decode_header, make_header

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from models.rules.dkim import canonical_body
from models.rules.encodings import encoded_words, quoted_printable

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@settings(max_examples=200)
@given(texts, st.integers(0, 30))
@example(" two  spaces ", 9)
@example("=?utf-8?q?x?=_", 9)
@example("🎉" * 100, 30)
@example("é" + "plain words " * 20, 9)
def test_encoded_words_say_the_text_and_keep_to_their_length(text: str, indent: int) -> None:
    written = encoded_words(text, indent)

    words = written.split("\r\n ")
    assert all(len(word) <= 75 for word in words)
    assert indent + len(words[0]) <= 75
    assert str(make_header(decode_header(written))) == text
    assert written.isascii()


@pytest.mark.parametrize(("text", "kind"), [("Zoë, the plan for today", "q"), ("日本語のお知らせ", "b")])
def test_the_shorter_of_the_two_encodings_is_taken_as_the_standard_library_does(text: str, kind: str) -> None:
    assert encoded_words(text, 9).startswith(f"=?utf-8?{kind}?")
    assert Header(text, "utf-8").encode().startswith(f"=?utf-8?{kind}?")


def test_escaped_pieces_escape_nothing_that_stands_beside_them() -> None:
    pieces = ["<p>", Markup("a &amp; b\n<b>c</b>\nd"), "<i>\n", Markup("e")]
    assert quoted_printable(pieces).octets == b"<p>a &amp; b\r\n<b>c</b>\r\nd<i>\r\ne\r\n"


@settings(max_examples=200)
@given(st.text(max_size=300), st.lists(st.integers(0, 300), max_size=5))
@example("trailing space \nand tab\t\n.\n..\n", [])
@example("From me\r\nto you\ror her", [8])
@example("=" * 200 + "\n" + "é" * 100, [150, 201])
@example("two  spaces \n\n \t\n  and\ta tab\n\n", [4, 12, 13, 14])
def test_quoted_printable_line_by_line_and_in_pieces_is_that_of_the_whole(text: str, cuts: list[int]) -> None:
    plain = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").encode("utf-8", "replace")

    encoded = quoted_printable(text)
    written = encoded.octets

    ends = [0, *sorted(cuts), len(text)]
    assert quoted_printable([text[start:end] for start, end in itertools.pairwise(ends)]) == encoded
    assert encoded.canonical.rstrip(b"\r\n") == canonical_body(written).rstrip(b"\r\n")
    assert written == binascii.b2a_qp(plain, istext=True).replace(b"\n", b"\r\n") + b"\r\n"
    assert quopri.decodestring(written).replace(b"\r\n", b"\n") == plain + b"\n"
    assert all(len(line) <= 76 for line in written.split(b"\r\n"))
