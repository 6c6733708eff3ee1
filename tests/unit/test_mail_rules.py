"""What may stand in a header or an envelope, what a message is called, when it is tried again, who gets nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.instants import HOUR, MINUTE
from models.rules.mail import Address, MessageIds, Refused, address, harmless, header_refusal
from models.rules.outbox import Backoff, MessageState, SendFacts, hold_reason, is_about_us, is_policy

IDS = MessageIds(b"secret", "warmline.example")


def test_the_same_key_gives_the_same_message_id_and_another_key_or_secret_another() -> None:
    first = IDS.of("nurture:1:welcome:1:0")
    assert first == IDS.of("nurture:1:welcome:1:0") == "<6moj5k3m2g6xln6pz6gplrntfntww33l@warmline.example>"
    assert first != IDS.of("nurture:1:welcome:1:1")
    assert first != MessageIds(b"other", "warmline.example").of("nurture:1:welcome:1:0")


@pytest.mark.parametrize(
    "value",
    [
        "a\nBcc: x",
        "a\rb",
        "a\r\n b",
        "a\tb",
        "a\0b",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\u2029b",
        "=?UTF-8?Q?=0A?=",
        "a =? b",
    ],
)
def test_a_header_value_that_could_become_two_lines_is_refused(value: str) -> None:
    refused = header_refusal("Subject", value)
    assert refused is not None
    assert refused.reason.startswith("header Subject: found ")


@pytest.mark.parametrize("value", ["", "Zoë, schön", "100 % = fine?", "a=b?c", "日本語 🎉", "a\u00a0b"])
def test_a_harmless_header_value_is_allowed(value: str) -> None:
    assert header_refusal("Subject", value) is None


@given(st.text())
def test_foreign_text_made_harmless_is_never_refused(value: str) -> None:
    assert header_refusal("Subject", harmless(value)) is None
    assert harmless(harmless(value)) == harmless(value)


def test_an_address_has_its_domain_in_idna_and_keeps_its_local_part() -> None:
    assert address(" Ann.Example+x@München.DE ") == Address("Ann.Example+x@xn--mnchen-3ya.de")
    assert address("ann@example.com.") == Address("ann@example.com")
    assert address("ann@faß.de") == Address("ann@xn--fa-hia.de")  # IDNA 2003 would write to fass.de, which is another's


def test_an_address_with_a_local_part_beyond_ascii_says_that_it_needs_smtputf8() -> None:
    read = address("zoë@example.com")
    assert isinstance(read, Address)
    assert not read.is_ascii


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "a b@example.com",
        "ann@example.com\r\nRCPT TO:<eve@example.com>",
        "ann\n@example.com",
        "<ann@example.com>",
        "ann@example.com>",
        "ann@example.com, bob@example.com",
        "ann@example.com bob@example.com",
        "ann@a@b.com",
        '"ann b"@example.com',
        "ann..b@example.com",
        ".ann@example.com",
        "ann@exa mple.com",
        "ann@-example.com",
        "ann@example..com",
        "ann@[127.0.0.1]",
        "a" * 65 + "@example.com",
        "ann@" + ".".join(["a" * 60] * 5),
        "\ud800@example.com",
        "ann\u2028@example.com",
    ],
)
def test_what_is_not_one_plain_address_is_refused(value: str) -> None:
    assert isinstance(address(value), Refused)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"ann b"@example.com', "quoted local parts are not written to"),
        ("ann@example.com, bob@example.com", "found two addresses"),
        ("ann@example.com;bob@example.com", "found two addresses"),
        ("a..b@example.com", "two in a row"),
        ("@example.com", "nothing before"),
        ("ann\r\n@example.com", "U+000D"),
        ("ann@exa_mple.com", "which is no domain name"),
        ("ann@i❤.ws", "which is no domain name"),
        ("a" * 255 + "@" + "b" * 63 + ".de", "longer than RFC 5321 allows"),
    ],
)
def test_the_mistake_of_an_address_is_named(value: str, said: str) -> None:
    refused = address(value)
    assert isinstance(refused, Refused)
    assert said in refused.reason
    assert len(refused.reason) < 300


@given(st.text(max_size=400))
def test_no_text_gets_a_second_command_into_the_envelope(value: str) -> None:
    read = address(value)
    if isinstance(read, Address):
        assert not set(read.text) & set("\r\n\0<> \t,")
        assert read.text.count("@") == 1
        assert len(read.text.encode()) <= 254


def test_waiting_grows_with_each_attempt_is_spread_and_ends() -> None:
    backoff = Backoff()
    assert [backoff.delay(n, 0.999999) for n in (1, 2, 3)] == pytest.approx(
        [5 * MINUTE, 15 * MINUTE, 45 * MINUTE], rel=1e-3
    )
    assert backoff.delay(1, 0.0) == 5 * MINUTE / 2
    assert backoff.delay(31, 0.999999) == pytest.approx(4 * HOUR, rel=1e-3)
    assert backoff.delay(32, 0.5) is None


def facts(**given: object) -> SendFacts:
    fields = {
        "kind": "nurture",
        "suppressed": None,
        "left": "",
        "stage": "lead",
        "stage_at": 5,
        "enrolment_state": "active",
        "enrolment_reason": None,
        "entered_at": 10,
        "excluded": None,
    }
    return SendFacts(**(fields | given))  # type: ignore[arg-type]


def test_nurture_is_held_for_who_left_or_bought_or_is_suppressed() -> None:
    assert hold_reason(facts()) is None
    assert hold_reason(facts(suppressed="unsubscribed")) == "suppressed: unsubscribed"
    assert hold_reason(facts(stage="disqualified")) == "the lead is disqualified"
    assert "customer" in str(hold_reason(facts(stage="customer", stage_at=11)))
    assert hold_reason(facts(enrolment_state="exited", enrolment_reason="replied")) == "enrolment exited: replied"
    assert hold_reason(facts(enrolment_state="finished", excluded="competitor")) == "excluded: competitor"
    assert hold_reason(facts(enrolment_state="finished", left="stage opportunity")) == "stage opportunity"


def test_nurture_is_not_held_for_customers_in_a_sequence_for_customers_nor_after_the_last_step() -> None:
    assert hold_reason(facts(stage="customer", stage_at=9)) is None
    assert hold_reason(facts(enrolment_state="finished")) is None


def test_an_alert_is_held_by_a_suppression_alone() -> None:
    assert hold_reason(facts(kind="alert", stage="disqualified", enrolment_state=None, excluded="student")) is None
    assert hold_reason(facts(kind="alert", suppressed="left us")) == "suppressed: left us"


@pytest.mark.parametrize(
    ("stage", "reply", "ours"),
    [
        ("mail", "530 5.7.0 Authentication required", True),
        ("mail", "550 5.7.1 sender not allowed", True),
        ("mail", "554 no", True),
        ("rcpt", "530 5.7.0 Must issue a STARTTLS command first", True),
        ("mail", "451 later", False),
        ("mail", "552 too large", False),
        ("mail", "553 address", False),
        ("mail", "555 parameter", False),
        ("mail", "554 5.3.4 message too big for system", False),
        ("mail", "550 5.6.7 non-ASCII addresses not permitted", False),
        ("rcpt", "550 no such user", False),
        ("dot", "554 spam", False),
    ],
)
def test_a_refusal_of_the_sender_is_told_from_that_of_a_message(stage: str, reply: str, ours: bool) -> None:
    assert is_about_us(stage, int(reply[:3]), reply) is ours


@pytest.mark.parametrize(
    ("reply", "ours"),
    [
        ("550 5.7.1 Relaying denied", True),
        ("554 5.7.1 <ann@example.net>: Relay access denied", True),
        ("550 relay not permitted", True),
        ("553 sender rejected", True),
        ("550 5.1.8 Sender address rejected: Domain not found", True),
        ("550-5.7.26 unauthenticated mail is not accepted", True),
        ("550 5.1.1 User unknown in relay recipient table", False),
        ("550 no such user", False),
        ("553 5.1.3 bad address syntax", False),
        ("552 5.2.2 mailbox full", False),
        ("450 4.7.1 greylisted", False),
    ],
)
def test_a_refusal_by_policy_is_told_from_that_of_a_recipient(reply: str, ours: bool) -> None:
    assert is_policy(int(reply[:3]), reply) is ours


def test_four_states_are_final() -> None:
    assert [state.value for state in MessageState if state.is_final] == ["sent", "failed", "unknown", "cancelled"]
