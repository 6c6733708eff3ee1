"""Signed tokens and the hash of a suppressed address."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.tokens import MAC_BYTES, UNSUBSCRIBE, Answer, Tokens, Unsubscription, suppression_digest

TOKENS = Tokens(b"secret")


@given(st.binary(max_size=60))
def test_a_token_gives_back_what_was_signed_whatever_its_case(content: bytes) -> None:
    token = TOKENS.sign("test", content)
    assert TOKENS.read("test", token) == TOKENS.read("test", token.upper()) == content
    assert token == token.lower()
    assert token.isalnum()


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_token_changed_anywhere_is_refused(content: bytes, data: st.DataObject) -> None:
    token = TOKENS.sign("test", content)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda c: c != token[place]))
    assert TOKENS.read("test", token[:place] + other + token[place + 1 :]) is None


@given(st.text(max_size=60))
def test_foreign_text_is_no_token(text: str) -> None:
    assert TOKENS.read("test", text) is None


def test_a_token_opens_one_door_of_one_workspace() -> None:
    token = TOKENS.sign("test", b"x")
    assert TOKENS.read("other", token) is None
    assert Tokens(b"other").read("test", token) is None
    assert TOKENS.read("test", token[:MAC_BYTES]) is None
    assert TOKENS.read("test", "") is None


def test_an_unsubscribe_token_says_who_and_by_which_message_but_not_in_words() -> None:
    wish = Unsubscription(suppression_digest(b"secret", "ann@example.com"), "<abc234@warmline.example>")
    token = wish.token(TOKENS)
    assert Unsubscription.read(TOKENS, token, "warmline.example") == wish
    assert "ann" not in token
    assert Unsubscription.read(TOKENS, TOKENS.sign("return-path", b"y" * 40), "warmline.example") is None
    assert Unsubscription.read(TOKENS, TOKENS.sign(UNSUBSCRIBE, b"short"), "warmline.example") is None


@pytest.mark.parametrize("spelling", ["Ann@EXAMPLE.com", " ann@example.com ", "ann@example.com."])
def test_spellings_of_an_address_have_one_suppression_hash(spelling: str) -> None:
    assert suppression_digest(b"s", spelling) == suppression_digest(b"s", "ann@example.com")


def test_the_suppression_hash_knows_idna_and_needs_the_secret() -> None:
    assert suppression_digest(b"s", "a@münchen.de") == suppression_digest(b"s", "A@xn--mnchen-3ya.de")
    assert suppression_digest(b"s", "a@b.de") != suppression_digest(b"t", "a@b.de")
    assert suppression_digest(b"s", "a@b.de") != suppression_digest(b"s", "b@b.de")
    assert len(suppression_digest(b"s", "no address")) == 16


@pytest.mark.feature("N6")
def test_after_a_rotation_tokens_of_before_still_open_their_doors_and_forged_ones_do_not() -> None:
    rotated, dropped = Tokens(b"new", (b"secret", b"older")), Tokens(b"new")
    for before in (Tokens(b"secret"), Tokens(b"older")):
        assert (
            rotated.read("test", before.sign("test", b"x")) == rotated.open("test", before.seal("test", b"x")) == b"x"
        )
        assert (
            dropped.read("test", before.sign("test", b"x")) is dropped.open("test", before.seal("test", b"x")) is None
        )
    assert dropped.read("test", rotated.sign("test", b"x")) == b"x", "new ones are made under the newest alone"
    assert rotated.read("other", TOKENS.sign("test", b"x")) is None


@given(st.binary(max_size=200))
def test_a_sealed_token_gives_back_its_content_and_shows_nothing_of_it(content: bytes) -> None:
    token = TOKENS.seal("test", content)
    assert TOKENS.open("test", token) == TOKENS.open("test", token.upper()) == content
    assert TOKENS.seal("test", content) == token and TOKENS.read("test", token) in (None, b"")
    assert len(content) < 8 or Tokens(b"x").sign("test", content)[: len(content)] != token[: len(content)]


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_sealed_token_changed_anywhere_is_refused(content: bytes, data: st.DataObject) -> None:
    token = TOKENS.seal("test", content)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda c: c != token[place]))
    assert TOKENS.open("test", token[:place] + other + token[place + 1 :]) is None


def test_an_answers_token_does_not_say_the_answer() -> None:
    answer = Answer("<abc234@warmline.example>", "company_size", "1-10")
    token = answer.token(TOKENS)
    assert Answer.read(TOKENS, token, "warmline.example") == answer
    raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
    assert b"company" not in raw and b"1-10" not in raw and b"abc234" not in raw
