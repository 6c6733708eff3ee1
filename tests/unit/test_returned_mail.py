"""What mails that came back say: made ones, 300 labelled ones where they are at hand, and torn ones of all of them."""

from __future__ import annotations

import csv
import random
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.returned_mail import Kind, Severity, read
from tests.conftest import SHARED

MADE = Path(__file__).parents[1] / "fixtures" / "returned_mail"
LABELLED = SHARED / "bounces"


def made(name: str) -> bytes:
    return (MADE / f"{name}.eml").read_bytes()


@pytest.mark.feature("N7")
@pytest.mark.parametrize(
    ("name", "kind", "fates"),
    [
        (
            "postfix-unknown-user",
            Kind.BOUNCE,
            [("ann@acme.example", "failed", "hard", "5.1.1"), ("bob@acme.example", "delayed", "soft", "4.2.2")],
        ),
        ("exchange-policy", Kind.BOUNCE, [("carol@globex.example", "failed", "policy", "5.7.1")]),
        ("qmail-unknown-user", Kind.BOUNCE, [("dave@initech.example", "failed", "hard", "5.1.1")]),
        ("exim-mailbox-full", Kind.BOUNCE, [("erin@hooli.example", "failed", "soft", "")]),
        ("delivered", Kind.DELIVERED, [("ann@acme.example", "relayed", None, "")]),
        ("complaint", Kind.COMPLAINT, [("frank@umbrella.example", "complained", None, "")]),
        ("out-of-office", Kind.AUTO_REPLY, []),
        ("out-of-office-without-headers", Kind.AUTO_REPLY, []),
        ("challenge", Kind.AUTO_REPLY, []),
        ("reply", Kind.REPLY, []),
        ("unsubscribe", Kind.UNSUBSCRIBE, []),
        ("stranger", Kind.OTHER, []),
    ],
)
def test_each_kind_of_mail_is_told_from_the_others(
    name: str, kind: Kind, fates: list[tuple[str, str, str | None, str]]
) -> None:
    mail = read(made(name))
    assert mail.kind is kind
    assert [(fate.recipient, fate.action, fate.severity, fate.status) for fate in mail.fates] == fates


@pytest.mark.feature("N7")
@pytest.mark.parametrize(
    ("status", "diagnostic", "severity"),
    [
        ("5.1.1", "550 5.1.1 user unknown", Severity.HARD),
        ("5.1.10", "550 5.1.10 recipient not found", Severity.HARD),
        ("5.2.1", "550 5.2.1 mailbox disabled", Severity.HARD),
        ("5.1.7", "553 5.1.7 bad sender's mailbox address", Severity.POLICY),
        ("5.1.8", "553 5.1.8 domain of sender address does not exist", Severity.POLICY),
        ("5.2.2", "552 5.2.2 mailbox full", Severity.SOFT),
        ("5.7.1", "550 5.7.1 blocked by our policy", Severity.POLICY),
        ("5.7.26", "550 5.7.26 fails DMARC", Severity.POLICY),
        ("5.7.1", "550 5.7.1 no such user here", Severity.HARD),
        ("5.0.0", "550 something", Severity.UNCLEAR),
        ("5.0.0", "550 no such user here", Severity.HARD),
        ("5.0.0", "554 your host is on our blocklist, user unknown to us", Severity.POLICY),
        ("4.4.1", "connect to mx.acme.example: Connection timed out", Severity.SOFT),
        ("4.7.1", "450 4.7.1 greylisted", Severity.POLICY),
        ("5.5.0", "", Severity.UNCLEAR),
    ],
)
def test_the_enhanced_status_decides_and_words_where_it_says_nothing(
    status: str, diagnostic: str, severity: Severity
) -> None:
    report = made("exchange-policy").decode().replace("Status: 5.7.1", f"Status: {status}")
    report = re.sub(r"Diagnostic-Code: .*", f"Diagnostic-Code: smtp; {diagnostic}", report)
    report = report.replace("Die Nachricht an carol@globex.example konnte nicht zugestellt werden.", "")
    assert [fate.severity for fate in read(report.encode()).fates] == [severity]


@pytest.mark.feature("N7")
@pytest.mark.parametrize(
    "head",
    [
        "Subject: Automatic reply: Hello",
        "Subject: Réponse automatique : Mail delivery failed",
        "Subject: Respuesta automática: Hello",
        "Subject: Odpowiedź automatyczna: Hello",
        "Subject: Автоответ: Hello",
        "Subject: 自動応答: Hello",
        "Subject: 自动回复: Hello",
        "Subject: Abwesenheitsnotiz: Hello",
        "Subject: Fuera de la oficina: Hello",
        "Subject: Re: Hello\nAuto-Submitted: auto-replied",
        "Subject: Re: Hello\nX-Autoreply: yes",
        "Subject: Re: Hello\nPrecedence: auto_reply",
    ],
)
def test_who_is_away_never_bounces_whatever_the_answer_says_and_returns(head: str) -> None:
    mail = f"""Return-Path: <>
From: Grace <grace@stark.example>
To: b+q@bounces.example
{head}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="B"

--B
Content-Type: text/plain

I have left the company. My mailbox is full; 550 5.1.1 user unknown. Write to <heidi@stark.example>.
--B
Content-Type: message/rfc822

From: hello@warmline.example
To: grace@stark.example
Subject: Hello
Message-ID: <original@warmline.example>

Hi
--B--
"""
    assert read(mail.encode()).kind is Kind.AUTO_REPLY


@pytest.mark.feature("N7")
def test_an_absence_is_told_by_how_the_text_begins_where_nothing_else_says_so() -> None:
    head = b"From: a@b.example\nSubject: Re: Hello\nIn-Reply-To: <original@warmline.example>\n\n"
    assert read(head + b"Hi,\n\nI am currently out of the office and will\nreturn on Monday.").kind is Kind.AUTO_REPLY
    assert read(head + b"Great! When I am back in the office I will call you.").kind is Kind.REPLY


@pytest.mark.feature("N7")
def test_a_providers_event_by_mail_is_read_like_a_report() -> None:
    event = (
        '{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":'
        '"ann@acme.example","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}]},'
        '"mail":{"headers":[{"name":"Message-ID","value":"<original@warmline.example>"}]}}'
    )
    mail = read(f"From: no-reply@sns.example\nSubject: Notification\n\n{event}\n\n--\nTo stop, click".encode())
    assert (mail.kind, mail.refers_to) == (Kind.BOUNCE, ("<original@warmline.example>",))
    assert [(fate.recipient, fate.severity, fate.status) for fate in mail.fates] == [
        ("ann@acme.example", Severity.HARD, "5.1.1")
    ]


@pytest.mark.feature("N7")
def test_line_ends_and_an_mbox_line_make_no_difference() -> None:
    for path in MADE.glob("*.eml"):
        raw = path.read_bytes()
        seen = read(raw)
        for other in (
            raw.replace(b"\n", b"\r\n"),
            raw.replace(b"\n", b"\r"),
            b"From x Thu Apr 1 08:00:00 2026\n" + raw,
        ):
            assert read(other) == seen, path.name


@pytest.mark.feature("N7")
def test_three_hundred_labelled_mails_are_read_as_people_read_them() -> None:
    if not LABELLED.is_dir():
        pytest.skip(f"LEFT OUT: the labelled mails are not at {LABELLED}")
    with (LABELLED / "labels.csv").open(encoding="utf-8", newline="") as file:
        labels = list(csv.DictReader(file))
    with_status: list[bool] = []
    everything: list[bool] = []
    for row in labels:
        raw = (LABELLED / row["file"]).read_bytes()
        mail, number = read(raw), int(row["recipient_no"])
        fates = [fate.severity for fate in mail.fates]
        said = fates[min(number, len(fates) - 1)] if fates else None
        right = (said is Severity.HARD) == (row["hard_bounce"] == "1")
        everything.append(right)
        if re.search(rb"(?im)^[> ]*Status:\s*[245]\.\d", raw.replace(b"\r", b"\n")):
            with_status.append(right)
        if row["reason"] == "vacation":
            assert mail.kind is Kind.AUTO_REPLY, row["file"]
        if row["reason"] == "feedback" and row["extra"] != "opt-out":
            assert mail.kind is Kind.COMPLAINT, row["file"]
    assert sum(with_status) / len(with_status) >= 0.90
    assert sum(everything) / len(everything) >= 0.85


@given(st.binary(max_size=400))
def test_any_bytes_at_all_are_read(raw: bytes) -> None:
    assert read(raw).kind in Kind


def test_torn_mails_are_read_without_a_crash_or_a_warning() -> None:
    paths = sorted([*MADE.glob("*.eml"), *(LABELLED / "eml").glob("*.eml")])
    source = random.Random(7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for raw in [paths[source.randrange(len(paths))].read_bytes() for _ in range(150)]:
            assert read(torn(raw, source)).kind in Kind


def torn(raw: bytes, source: random.Random) -> bytes:
    """The mail with bytes lost, doubled, flipped, or its parts put into each other."""
    content = bytearray(raw)
    for _ in range(source.randrange(1, 8)):
        start = source.randrange(len(content) + 1)
        end = min(len(content), start + source.randrange(1, 200))
        match source.randrange(5):
            case 0:
                del content[start:end]
            case 1:
                content[start:start] = content[start:end]
            case 2:
                content[start:end] = source.randbytes(end - start)
            case 3:
                content[start:start] = b"\nContent-Type: multipart/report; boundary=x; charset=\xff\xfe\n\n--x\n"
            case _:
                content[start:start] = b"=?utf-8?B?\xff=?= ;" * source.randrange(1, 9)
    return bytes(content)


def test_nesting_without_end_is_read() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    mails = b"Content-Type: message/rfc822\n\n" * 3000
    assert {read(deep).kind, read(mails).kind} == {Kind.OTHER}


def test_a_huge_mail_is_read_in_moderate_time() -> None:
    for line in (
        b"<a@b.example>: user unknown\n",
        b"Final-Recipient: rfc822; a@b.example\n",
        b"a" * 70 + b"@\n",
        b"<" * 70,
    ):
        head = b"From: MAILER-DAEMON@x.example\nSubject: failure notice\n\n"
        assert read(head + line * 30_000).kind in Kind
