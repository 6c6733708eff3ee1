"""Whether a webhook comes from whom its hook belongs to: every scheme, with real keys, and what must not get in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pydantic import TypeAdapter, ValidationError

from models.documents import Document
from models.rules import webhooks
from models.rules.hooks import sns
from models.rules.hooks.settings import Hook, HookSetting
from models.rules.hooks.signatures import Call, amiss, once, refusal
from models.rules.records import RecordError
from tests.conftest import ROOT
from tests.webhook_world import FORM, NOW, TOPIC, Amazon, basic, mailgun_signature, public_key, sendgrid_headers

SECRET, OTHER = "a-secret-of-the-tests", "another-secret-of-the-tests"
BODY = b'{"email": "ann@acme.example"}'
URL = "https://in.saws.example/v1/hooks/x"
MINUTE = 60_000_000


def call(headers: dict[str, str], body: bytes = BODY, at: int = NOW, url: str = URL) -> Call:
    return Call("POST", url, {name.lower(): value for name, value in headers.items()}, body, at)


def mac(secret: str, content: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), content, algorithm)


def hmac_hook(**more: Any) -> Hook:
    return Hook.model_validate({"mapping": "shop", "auth": {"scheme": "hmac", "header": "X-Signature", **more}})


@pytest.mark.feature("I2")
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_a_keyed_hash_in_a_header_lets_in_who_knows_one_of_the_secrets(
    algorithm: str, encoding: str, prefix: str
) -> None:
    hook = hmac_hook(algorithm=algorithm, encoding=encoding, prefix=prefix)
    made = mac(SECRET, BODY, algorithm)
    said = prefix + (made.hex() if encoding == "hex" else base64.b64encode(made).decode())

    assert refusal(hook, [SECRET], call({"X-Signature": said})) is None
    assert refusal(hook, [OTHER, SECRET], call({"X-Signature": said})) is None  # one is being replaced
    assert refusal(hook, [SECRET], call({"X-Signature": f"{prefix}{'0' * 64},{said}"})) is None  # by its sender
    assert "does not fit" in str(refusal(hook, [OTHER], call({"X-Signature": said})))
    assert "does not fit" in str(refusal(hook, [SECRET], call({"X-Signature": said}, BODY + b" ")))
    assert refusal(hook, [SECRET], call({})) == "header X-Signature is missing"


@pytest.mark.parametrize("header", ["", "é" * 9, "v1=", ",,,", "sha256=" + "z" * 64, "\x00"])
def test_no_header_at_all_gets_in_by_being_strange(header: str) -> None:
    hooks = [hmac_hook(prefix="v1="), hmac_hook(encoding="base64")]
    hooks += [Hook.model_validate({"provider": name}) for name in ("calendly", "typeform", "sendgrid", "postal")]
    names = [
        "X-Signature",
        "Calendly-Webhook-Signature",
        "Typeform-Signature",
        "X-Postal-Signature",
        "X-Twilio-Email-Event-Webhook-Signature",
    ]
    for hook in hooks:
        assert refusal(hook, [SECRET], call(dict.fromkeys(names, header))) is not None


def test_a_signed_time_is_believed_for_the_window_and_no_longer() -> None:
    hook = hmac_hook(timestamp_header="X-Time")

    def said(at: int, stamp: str | None = None) -> str | None:
        stamp = stamp if stamp is not None else str(at // 1_000_000)
        signed = {"X-Time": stamp, "X-Signature": mac(SECRET, f"{stamp}.".encode() + BODY).hex()}
        return refusal(hook, [SECRET], call(signed))

    assert said(NOW) is None
    assert said(NOW - 4 * MINUTE) is None
    assert said(NOW + 4 * MINUTE) is None
    assert said(NOW - 6 * MINUTE) == "timestamp: sent 360 s ago; allowed: 300 s"
    assert said(NOW + 6 * MINUTE) == "timestamp: lies ahead of our clock"
    assert "allowed: a time" in str(said(NOW, "yesterday"))
    assert "allowed: a time" in str(said(NOW, ""))
    moved = {"X-Time": str(NOW // 1_000_000), "X-Signature": mac(SECRET, b"1." + BODY).hex()}
    assert "does not fit" in str(refusal(hook, [SECRET], call(moved)))


@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        ({"scheme": "hmac"}, "needs `header`"),
        ({"scheme": "basic", "header": "X-A"}, "one of its own"),
        ({"scheme": "hmac", "header": "X-A", "timestamp_header": "X-T", "signed": "{body}"}, "proves nothing"),
        ({"scheme": "hmac", "header": "X-A", "signed": "{method}{url}"}, "can be exchanged"),
        ({"scheme": "hmac", "header": "X-A", "timestamp_header": "X-T", "timestamp_field": "t"}, "one of them"),
        ({"scheme": "hmac", "header": "X-A", "signed": "{secret}{body}"}, "pattern"),
    ],
)
def test_a_scheme_that_would_prove_nothing_is_refused_in_the_settings(auth: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Hook.model_validate({"mapping": "shop", "auth": auth})


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        ({"mapping": "shop"}, "needs auth"),
        ({}, "needs mapping and auth"),
        ({"provider": "sendgrid", "mapping": "shop"}, "need none"),
        ({"provider": "ses"}, "topics: missing"),
        ({"provider": "ses", "topics": ["everything"]}, "pattern"),
        ({"provider": "ses", "topics": [TOPIC], "auth": "basic"}, "nothing to choose"),
        ({"provider": "brevo", "topics": [TOPIC]}, "ses alone"),
        ({"provider": "nobody"}, "Input should be"),
    ],
)
def test_a_hook_that_lets_in_whoever_comes_is_refused_in_the_settings(hook: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Hook.model_validate(hook)


@pytest.mark.feature("I3")
def test_sendgrid_signs_time_and_body_by_an_elliptic_curve() -> None:
    key, stranger = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    hook = Hook.model_validate({"provider": "sendgrid"})
    signed = sendgrid_headers(key, BODY)

    assert refusal(hook, [public_key(key)], call(signed)) is None
    assert refusal(hook, [public_key(stranger), public_key(key)], call(signed)) is None
    assert "does not fit" in str(refusal(hook, [public_key(stranger)], call(signed)))
    assert "does not fit" in str(refusal(hook, [public_key(key)], call(signed, BODY.replace(b"ann", b"bob"))))
    late = {**signed, "x-twilio-email-event-webhook-timestamp": str(NOW // 1_000_000 - 1)}
    assert "does not fit" in str(refusal(hook, [public_key(key)], call(late)))
    assert "sent 90000 s ago" in str(refusal(hook, [public_key(key)], call(signed, at=NOW + 25 * 60 * MINUTE)))
    assert "missing" in str(refusal(hook, [public_key(key)], call({})))
    assert amiss(hook, public_key(key)) == ""
    assert "verification key" in amiss(hook, "no key")
    assert "verification key" in amiss(hook, public_key(rsa.generate_private_key(65537, 1024)))


@pytest.mark.feature("I3")
def test_mailgun_signs_a_token_which_may_stand_before_one_body_alone() -> None:
    hook = Hook.model_validate({"provider": "mailgun"})
    signature = mailgun_signature(SECRET)
    current = json.dumps({"signature": signature, "event-data": {}}).encode()
    legacy = urlencode([("timestamp", "mine"), ("event", "opened"), *signature.items()]).encode()
    boundary = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in signature.items()
    )
    several = f"{boundary}--b--\r\n".encode()

    for body, kind in (
        (current, "application/json"),
        (legacy, FORM),
        (several, "multipart/form-data; boundary=b"),
    ):
        sent = call({"content-type": kind}, body)
        assert refusal(hook, [OTHER, SECRET], sent) is None
        assert "does not fit" in str(refusal(hook, [OTHER], sent))
        assert "ago" in str(refusal(hook, [SECRET], call({"content-type": kind}, body, NOW + 25 * 60 * MINUTE)))
        assert once(hook, sent) == "t" * 50
    parent = {**mailgun_signature(OTHER), "parent-signature": signature["signature"]}
    assert refusal(hook, [SECRET], call({}, json.dumps({"signature": parent}).encode())) is None
    for body in (b"{}", b"[]", b"no json", b'{"signature": 5}'):
        assert refusal(hook, [SECRET], call({}, body)) is not None


@pytest.mark.feature("I3")
def test_names_passwords_and_tokens_are_compared_whole() -> None:
    postmark, brevo = (Hook.model_validate({"provider": name}) for name in ("postmark", "brevo"))
    secrets = ["warmline:old-password", "warmline:new-password"]

    assert refusal(postmark, secrets, call(basic("warmline", "new-password"))) is None
    assert refusal(postmark, secrets, call(basic("warmline", "new-passwor"))) is not None
    assert refusal(postmark, secrets, call(basic("warmline:new-password", ""))) is not None
    assert refusal(postmark, secrets, call({"authorization": "Basic !"})) is not None
    assert refusal(postmark, secrets, call({"authorization": "Bearer warmline:old-password"})) is not None
    assert refusal(brevo, [SECRET], call({"authorization": f"Bearer {SECRET}"})) is None
    assert refusal(brevo, secrets, call(basic("warmline", "old-password"))) is None
    assert refusal(brevo, [SECRET], call({"authorization": f"bearer {SECRET}x"})) is not None
    own = Hook.model_validate({"provider": "brevo", "auth": {"scheme": "token", "header": "X-Key", "prefix": "Key "}})
    assert refusal(own, [SECRET], call({"X-Key": f"Key {SECRET}"})) is None
    assert refusal(own, [SECRET], call({"X-Key": f"Key {OTHER}"})) is not None
    assert refusal(own, [SECRET], call({"authorization": f"Bearer {SECRET}"})) is not None
    assert amiss(postmark, "warmline:password") == ""
    assert "NAME:PASSWORD" in amiss(postmark, "no-colon-at-all")
    assert "at least 8" in amiss(brevo, "short")


@pytest.mark.feature("I2")
def test_typeform_calendly_and_hubspot_sign_each_in_its_way() -> None:
    typeform = Hook.model_validate({"provider": "typeform"})
    said = "sha256=" + base64.b64encode(mac(SECRET, BODY)).decode()
    assert refusal(typeform, [SECRET], call({"Typeform-Signature": said})) is None
    assert refusal(typeform, [SECRET], call({"Typeform-Signature": said}, BODY + b"\n")) is not None

    calendly, seconds = Hook.model_validate({"provider": "calendly"}), NOW // 1_000_000
    said = f"t={seconds},v1={mac(SECRET, f'{seconds}.'.encode() + BODY).hex()}"
    assert refusal(calendly, [SECRET], call({"Calendly-Webhook-Signature": said})) is None
    assert "ago" in str(refusal(calendly, [SECRET], call({"Calendly-Webhook-Signature": said}, at=NOW + 6 * MINUTE)))
    later = said.replace(f"t={seconds}", f"t={seconds + 300}")
    assert "does not fit" in str(refusal(calendly, [SECRET], call({"Calendly-Webhook-Signature": later})))

    hubspot, stamp = Hook.model_validate({"provider": "hubspot"}), str(NOW // 1_000)

    def signed(url: str, method: str = "POST") -> dict[str, str]:
        made = base64.b64encode(mac(SECRET, f"{method}{url}".encode() + BODY + stamp.encode())).decode()
        return {"X-HubSpot-Signature-v3": made, "X-HubSpot-Request-Timestamp": stamp}

    assert refusal(hubspot, [SECRET], call(signed(URL))) is None
    assert refusal(hubspot, [SECRET], call(signed(f"{URL}?a=1:2"), url=f"{URL}?a=1%3A2")) is None
    assert refusal(hubspot, [SECRET], call(signed("https://elsewhere.example/v1/hooks/x"))) is not None
    assert refusal(hubspot, [SECRET], call(signed(URL, "PUT"))) is not None
    assert "sent 360 s ago" in str(refusal(hubspot, [SECRET], call(signed(URL), at=NOW + 6 * MINUTE)))
    assert hubspot.needs_url and not calendly.needs_url
    assert Hook.model_validate({"provider": "sendgrid"}).is_about_mail and not hubspot.is_about_mail


@pytest.mark.feature("I2")
def test_our_own_webhooks_are_believed_by_a_hook_of_the_standard_scheme() -> None:
    keys = [b"k" * 32, b"j" * 32]
    hook = Hook.model_validate({"mapping": "shop", "auth": "standard"})
    secret = webhooks.PREFIX + base64.b64encode(keys[1]).decode()
    sent = webhooks.headers("msg_1", NOW // 1_000_000, BODY, keys)

    assert refusal(hook, [secret], call(sent)) is None
    svix = {name.replace("webhook-", "svix-"): value for name, value in sent.items()}
    assert refusal(Hook.model_validate({"provider": "resend"}), [secret], call(svix)) is None
    assert refusal(hook, [secret], call({**sent, "webhook-id": "msg_2"})) is not None
    assert "ago" in str(refusal(hook, [secret], call(sent, at=NOW + 6 * MINUTE)))
    assert refusal(hook, [webhooks.PREFIX + base64.b64encode(b"x" * 32).decode()], call(sent)) is not None
    assert amiss(hook, secret) == ""
    assert "whsec_" in amiss(hook, "not Base64, surely")


def test_mandrill_postal_mailersend_and_unisender_go_sign_each_in_its_way() -> None:
    fields = {"mandrill_events": "[]", "a": "b"}
    signed = URL + "".join(name + value for name, value in sorted(fields.items()))
    said = base64.b64encode(mac(SECRET, signed.encode(), "sha1")).decode()
    mandrill, form = Hook.model_validate({"provider": "mandrill"}), urlencode(fields).encode()
    assert refusal(mandrill, [SECRET], call({"content-type": FORM, "X-Mandrill-Signature": said}, form)) is None
    elsewhere = call({"content-type": FORM, "X-Mandrill-Signature": said}, form, url=URL + "y")
    assert refusal(mandrill, [SECRET], elsewhere) is not None
    assert refusal(mandrill, [SECRET], call({"X-Mandrill-Signature": said}, form)) is not None

    key, postal = rsa.generate_private_key(65537, 1024), Hook.model_validate({"provider": "postal"})
    for name, kind in (("X-Postal-Signature", hashes.SHA1()), ("X-Postal-Signature-256", hashes.SHA256())):
        said = base64.b64encode(key.sign(BODY, padding.PKCS1v15(), kind)).decode()
        assert refusal(postal, [public_key(key)], call({name: said})) is None
        assert refusal(postal, [public_key(key)], call({name: said}, BODY + b"x")) is not None

    mailersend = Hook.model_validate({"provider": "mailersend"})
    assert refusal(mailersend, [SECRET], call({"Signature": mac(SECRET, BODY).hex()})) is None

    unisender = Hook.model_validate({"provider": "unisender-go"})
    body = json.dumps({"auth": SECRET, "events_by_user": []}, separators=(",", ":")).encode()
    auth = hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert refusal(unisender, [SECRET], call({}, body.replace(SECRET.encode(), auth.encode()))) is None
    assert refusal(unisender, [OTHER], call({}, body.replace(SECRET.encode(), auth.encode()))) is not None


HOOK = Hook.model_validate({"provider": "ses", "topics": [TOPIC]})


@pytest.fixture(scope="module")
def amazon() -> Amazon:
    return Amazon()


@pytest.mark.feature("I3")
@pytest.mark.parametrize("version", ["1", "2"])
def test_sns_is_believed_by_its_certificate(amazon: Amazon, version: str) -> None:
    for body in (
        amazon.message("{}", version),
        amazon.message("{}\né", version, Subject="Amazon SES"),
        amazon.subscription(SignatureVersion=version) if version == "2" else amazon.message("{}", version),
    ):
        envelope = sns.opened(body)
        assert sns.unwelcome(HOOK, envelope, NOW) is None
        assert sns.forged(envelope, amazon.certificate(), NOW) is None
        assert sns.forged(envelope, Amazon().certificate(), NOW) == "the signature does not fit"
        assert sns.forged(envelope, amazon.certificate(1, 2), NOW) == "the certificate does not hold now"
        assert sns.forged(envelope, b"no certificate", NOW) == "the certificate cannot be read"
    for name in ("Message", "MessageId", "Timestamp", "TopicArn"):
        changed = json.loads(amazon.message("{}", version))
        changed[name] += "x"
        assert sns.forged(sns.opened(json.dumps(changed).encode()), amazon.certificate(), NOW) is not None


@pytest.mark.feature("I3")
@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0a.pem",
        "https://evil.example/sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://evil.example#sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-0a.pem",
        "https://evil.example\\@sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem?x=y",
        "https://sns.eu-central-1.amazonaws.com/../SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com/mine/SimpleNotificationService-0a.pem",
        "https://s3.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.evil.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://SNS.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://169.254.169.254/SimpleNotificationService-0a.pem",
        "https://[::1]/SimpleNotificationService-0a.pem",
        "file:///etc/passwd",
        "https://sns.eu-central-1.amazonaws.com\n.evil.example/SimpleNotificationService-0a.pem",
        "https://[",
        "",
    ],
)
def test_a_certificate_is_fetched_from_amazon_alone(amazon: Amazon, url: str) -> None:
    assert sns.foreign(url) is not None
    envelope = sns.opened(amazon.message("{}", SigningCertURL=url))
    assert "SigningCertURL" in str(sns.unwelcome(HOOK, envelope, NOW))


@pytest.mark.feature("I3")
def test_what_a_hook_does_not_listen_to_is_refused_before_anything_is_fetched(amazon: Amazon) -> None:
    theirs = TOPIC.replace("123456789012", "999999999999")
    assert "`topics`" in str(sns.unwelcome(HOOK, sns.opened(amazon.message("{}", TopicArn=theirs)), NOW))
    unknown = amazon.message("{}").replace(b'"SignatureVersion": "2"', b'"SignatureVersion": "3"')
    assert "SignatureVersion" in str(sns.unwelcome(HOOK, sns.opened(unknown), NOW))
    assert "ago" in str(sns.unwelcome(HOOK, sns.opened(amazon.message("{}")), NOW + 25 * 60 * MINUTE))
    assert "ahead" in str(sns.unwelcome(HOOK, sns.opened(amazon.message("{}")), NOW - 6 * MINUTE))
    assert "allowed: a time" in str(sns.unwelcome(HOOK, sns.opened(amazon.message("{}", Timestamp="soon")), NOW))
    with pytest.raises(RecordError, match="raw message delivery"):
        sns.opened(b'{"notificationType": "Bounce", "mail": {}}')
    for body in (b"[]", b"{}", b"x", b'{"Type": "Notification"}', b'{"Type": ["Notification"]}'):
        with pytest.raises(RecordError):
            sns.opened(body)


@pytest.mark.feature("I3")
@pytest.mark.parametrize(
    ("url", "confirmed"),
    [
        (f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=abc", True),
        (f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=abc", False),
        (f"https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&TopicArn={TOPIC}", False),
        ("https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:x", False),
        (f"https://sns.eu-central-1.amazonaws.com/x?Action=ConfirmSubscription&TopicArn={TOPIC}", False),
        (f"http://127.0.0.1/?Action=ConfirmSubscription&TopicArn={TOPIC}", False),
    ],
)
def test_a_subscription_is_confirmed_at_amazon_for_its_topic_alone(amazon: Amazon, url: str, confirmed: bool) -> None:
    envelope = sns.opened(amazon.subscription(SubscribeURL=url))
    assert (sns.unconfirmable(envelope) is None) is confirmed


def test_the_examples_of_the_documentation_are_hooks() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "hooks.md").read_text(), re.MULTILINE | re.DOTALL)
    hooks = [hook for block in blocks for hook in Document.parse(block, "hooks.md").data["hooks"].items()]
    assert len(hooks) == 6
    for name, said in hooks:
        assert TypeAdapter(HookSetting).validate_python(said), name
