"""The bytes of a message, read back by the standard library's parser."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules.mail import header_refusal
from tasks.composition import Calendar, write
from tasks.rendering import Rendered

HEADERS = {
    "From": "hello@warmline.example",
    "To": "ann@example.net",
    "Subject": "Hello",
    "Message-ID": "<abc@warmline.example>",
    "List-Unsubscribe": f"<https://go.example/u/{'a' * 120}>, <mailto:hello@warmline.example?subject={'b' * 120}>",
}
allowed = st.text(max_size=200).filter(lambda text: header_refusal("Subject", text) is None)


def parsed(subject: str = "Hello", name: str = "Warmline", text: str = "t", html: str = "<p>h</p>") -> EmailMessage:
    content = write({**HEADERS, "Subject": subject}, name, Rendered(subject, html, text), "=_b")
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    mail = message_from_bytes(content, policy=default)
    assert set(mail.keys()) == {*HEADERS, "MIME-Version", "Content-Type"}
    assert not mail.defects
    return mail


@settings(max_examples=50)
@given(allowed)
def test_a_subject_arrives_as_it_was_written(subject: str) -> None:
    # A parser may not tell how many spaces stood at the ends, nor where a line was folded.
    assert " ".join(str(parsed(subject=subject)["Subject"]).split()) == " ".join(subject.split())


@settings(max_examples=50)
@given(allowed.filter(lambda text: text.strip() == text))
def test_a_display_name_arrives_and_leaves_the_address_alone(name: str) -> None:
    sender = parsed(name=name)["From"].addresses
    assert [address.addr_spec for address in sender] == ["hello@warmline.example"]
    # The parser keeps the space between two encoded words, which RFC 2047 6.2 takes away.
    assert "".join(sender[0].display_name.split()) == "".join(name.split())


@settings(max_examples=50)
@given(st.text(max_size=500))
def test_a_body_arrives_as_it_was_written(body: str) -> None:
    mail = parsed(text=body, html=f"<p>{body}")
    for kind, expected in (("plain", body), ("html", f"<p>{body}")):
        part = mail.get_body((kind,))
        assert part is not None
        assert not part.defects
        lines = expected.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        assert part.get_content().replace("\r\n", "\n").rstrip("\n") == lines


def test_it_reads_like_what_the_standard_library_writes() -> None:
    theirs = EmailMessage()
    for name, value in HEADERS.items():
        theirs[name] = f"Zoë <{value}>" if name == "From" else value
    theirs.set_content("Grüße\n\nZoë\n")
    theirs.add_alternative("<p>Grüße</p>\n" + "x" * 2000, subtype="html")
    ours = parsed(name="Zoë", text="Grüße\n\nZoë\n", html="<p>Grüße</p>\n" + "x" * 2000)
    for name in HEADERS:
        assert str(ours[name]) == str(theirs[name])
    for kind in ("plain", "html"):
        mine, other = ours.get_body((kind,)), theirs.get_body((kind,))
        assert mine is not None
        assert other is not None
        assert mine.get_content().replace("\r\n", "\n").strip() == other.get_content().strip()


@pytest.mark.parametrize("subject", ["Zoë " * 60, "日本語" * 80, "🎉" * 100])
def test_encoded_words_are_at_most_75_characters_long(subject: str) -> None:
    content = write({"Subject": subject}, "", Rendered(subject, "h", "t"), "=_b")
    words = re.findall(rb"=\?[^ \r\n]+\?=", content)
    assert words
    assert all(len(word) <= 75 for word in words)


def test_an_invitation_stands_among_the_alternatives_and_as_a_file() -> None:
    calendar = "BEGIN:VCALENDAR\r\nSUMMARY:Zoë\r\nEND:VCALENDAR\r\n".encode() * 20
    content = write(HEADERS, "Warmline", Rendered("Hello", "<p>h</p>", "t"), "=_b", Calendar(calendar, "REQUEST"))
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content) and all(len(line) <= 998 for line in content.split(b"\r\n"))
    mail = message_from_bytes(content, policy=default)
    assert not any(part.defects for part in mail.walk())
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "text/calendar",
        "application/ics",
    ]
    assert [part.get_boundary() for part in mail.walk() if part.is_multipart()] == ["=m=_b", "=_b"]
    alternative, attached = list(mail.walk())[4:]
    assert alternative["Content-Type"].params["method"] == "REQUEST"  # RFC 6047 2.4
    assert alternative.get_content().encode() == calendar == attached.get_content()
    assert attached.get_content_disposition() == "attachment" and attached.get_filename() == "invite.ics"
    body = mail.get_body()
    assert body is not None and body.get_content_type() == "text/html"
