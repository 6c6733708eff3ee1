"""DKIM signatures, looked at by dkimpy, which nobody of this house wrote."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules.dkim import Key, Signer, canonical_body, read_key, record
from models.rules.mail import Refused
from tasks.composition import write
from tasks.rendering import Rendered

RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
KEYS = [Key("warmline.example", "mail", RSA), Key("warmline.example", "mail-ed", ED25519)]
HEADERS = {
    "From": "hello@warmline.example",
    "To": "ann@example.net",
    "Subject": "Zoë, schön, dass Sie da sind: " + "ein langer Betreff mit  zwei Leerzeichen " * 5,
    "Date": "Tue, 03 Mar 2026 12:13:20 +0000",
    "Message-ID": "<abc@warmline.example>",
    "List-Unsubscribe": f"<https://go.example/u/{'a' * 120}>, <mailto:hello@warmline.example?subject={'b' * 120}>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


def mail(text: str = "Hi  Zoë \t!\n\nBye \n", **headers: str) -> bytes:
    return write({**HEADERS, **headers}, "Zoë Warm", Rendered("", f"<p>{text}", text), "=_b")


def dns(keys: list[Key]) -> Callable[..., bytes | None]:
    records = {f"{record(key).name}.".encode(): record(key).value.encode() for key in keys}
    return lambda name, timeout=5: records.get(name)


def verdicts(signed: bytes, keys: list[Key] = KEYS) -> list[bool]:
    """What dkimpy says of each signature, the first header's first."""
    seen = dkim.DKIM(signed)
    count = signed.partition(b"\r\n\r\n")[0].lower().count(b"dkim-signature:")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = []
        for index in range(count):
            try:
                found.append(bool(seen.verify(index, dnsfunc=dns(keys))))
            except dkim.ValidationError:
                found.append(False)
        return found


def signed(content: bytes, keys: list[Key] = KEYS) -> bytes:
    return Signer(keys).sign(content) + content


def test_both_signatures_hold_for_who_knows_the_records() -> None:
    assert verdicts(signed(mail())) == [True, True]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=300), st.text(alphabet="ab \t\n", max_size=60))
def test_any_body_is_signed_as_others_read_it(text: str, tail: str) -> None:
    assert verdicts(signed(mail(text + tail), KEYS[1:])) == [True]
    raw = b"From: a@warmline.example\r\nsubject:  x \t y\r\n z\r\n\r\n" + f"{tail}\n".replace("\n", "\r\n").encode()
    assert verdicts(signed(raw, KEYS[1:])) == [True]


@pytest.mark.parametrize(
    "changed",
    [
        (b"\nHi", b"\nHo"),
        (b"To: ann@", b"To: bob@"),
        (b"List-Unsubscribe-Post: List-Unsubscribe=One-Click", b"List-Unsubscribe-Post: no"),
        (b"List-Unsubscribe: <https://go.", b"List-Unsubscribe: <https://no."),
        (b"MIME-Version:", b"Subject: another\r\nMIME-Version:"),
        (b"MIME-Version:", b"From: eve@example.com\r\nMIME-Version:"),
        (b"MIME-Version:", b"Reply-To: eve@example.com\r\nMIME-Version:"),
        (b"MIME-Version:", b"Cc: eve@example.com\r\nMIME-Version:"),
        (b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b""),
    ],
)
def test_nobody_on_the_way_can_change_remove_or_add_what_people_see(changed: tuple[bytes, bytes]) -> None:
    content = signed(mail())
    assert changed[0] in content
    assert verdicts(content.replace(*changed, 1)) == [False, False]


def test_what_a_relay_may_do_breaks_nothing() -> None:
    content = signed(mail())
    received = b"Received: from a by b; Tue, 03 Mar 2026 12:13:20 +0000\r\n" + content
    assert verdicts(received.replace(b"To: ann@", b"to:  ann@") + b"\r\n\r\n") == [True, True]


def test_lines_are_short_and_the_same_mail_is_signed_alike() -> None:
    header = Signer(KEYS).sign(mail())
    assert header == Signer(KEYS).sign(mail())
    assert all(len(line) <= 100 for line in header.split(b"\r\n"))
    assert header.endswith(b"\r\n") and not re.search(rb"\r\n(?![ D]|$)", header)
    assert Signer([]).sign(mail()) == b""


@pytest.mark.parametrize("body", ["", "\r\n", " \r\n", "a\r\n", "a \t b \r\n\r\n", "\t\r\na\r\n", "\r\n \r\n"])
def test_the_relaxed_body_is_that_of_dkimpy(body: str) -> None:
    assert canonical_body(body.encode()) == dkim.canonicalization.Relaxed.canonicalize_body(body.encode())


def pem(private: object, password: bytes | None = None) -> str:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, form, hidden).decode()  # type: ignore[attr-defined]


def test_a_key_is_read_with_its_kind_and_its_record_fits_a_zone_file() -> None:
    for private, kind in ((RSA, "rsa"), (ED25519, "ed25519")):
        key = read_key("warmline.example", "mail", pem(private))
        assert isinstance(key, Key)
        assert (key.algorithm, key.doubt) == (f"{kind}-sha256", None)
        found = record(key)
        assert found.name == "mail._domainkey.warmline.example"
        assert found.value.startswith(f"v=DKIM1; k={kind}; p=")
        base64.b64decode(found.value.rpartition("=")[0].rpartition("p=")[2] + "===")
        strings = re.findall(r'"([^"]*)"', found.line)
        assert "".join(strings) == found.value
        assert max(map(len, strings)) <= 255
    short = read_key("warmline.example", "mail", pem(rsa.generate_private_key(65537, 1024)))
    assert isinstance(short, Key)
    assert "1024 bits" in str(short.doubt)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found no PEM"),
        ("hello", "found no PEM"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "the kind EC"),
        (pem(RSA, b"secret"), "pass phrase"),
        (pem(RSA)[:200], "-----BEGIN PRIVATE KEY-----"),
        (
            RSA.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode(),
            "-----BEGIN PUBLIC KEY-----",
        ),
    ],
)
def test_what_is_no_key_to_sign_with_is_told_and_not_quoted(text: str, said: str) -> None:
    refused = read_key("warmline.example", "mail", text)
    assert isinstance(refused, Refused)
    assert said in refused.reason
    assert len(refused.reason) < 200


def test_a_key_that_is_too_short_to_be_allowed_is_refused() -> None:
    # 768 bits: made by openssl, which this library would not make any more.
    refused = read_key("warmline.example", "mail", SHORT)
    assert isinstance(refused, Refused)


SHORT = """-----BEGIN PRIVATE KEY-----
MIIB5QIBADANBgkqhkiG9w0BAQEFAASCAc8wggHLAgEAAmEArk16QzR97ZBF0DtL
2BgMovNshEczFx0jbdMAf2iyj0Z1BWu/k/4MeafHlO0jscYZQaBY8kxJer398I01
LoP9sxmXCzagVAbz7i0j6g19bJ0XuJWBkYP6W7aLkhcwVq73AgMBAAECYB0i0Fwp
ix9J7ZGYR95QbtRSUoJuEGk9sq1qBvxFOQvgIDGOyFBpuBYh6KfJWB0gWtO+6iG4
wshgkl0JP5uQLJg+kLSeixQVfmBcKLvLS+0xICoOrkS5FdWUtiMo+XvfcQIxAN0K
kprEIRcRxdusEIJPhnDQL8lPytoaTr7Lo82PMSOG/ge7I7CZ1YzjPN/y8Z18mQIx
AMnekelyOfuDBtqJrxZxRDxw36WP0TtgnIrPAJFtgLBxdlGPgqagMYE02nb+ZYqy
DwIwZlfm2VHGIHBSNAvO+QbpMIK0HXmcaq+TljOjfCG4lsKCDAJR3AreHYV5Qhey
V0DBAjEAqGlxy5NLQkQurJVfJ9b4+X+lZYdVJDdWggtuSuVTDmCqOCME+aP9iPCi
LdHQvuQLAjEAmSiAVScUh3rOppOPPbus5CAUw0fYNmM1MniRqnaYrT7ee8yA+Mh7
p6phNNUzB6QT
-----END PRIVATE KEY-----
"""
