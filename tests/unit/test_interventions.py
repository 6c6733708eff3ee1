"""What may be done to a message from outside its sender, and what a relay's log proves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.interventions import Deed, NotAllowed, outcome
from models.rules.outbox import MessageState
from models.rules.relay_log import taken_over

MOVES = {
    (Deed.RETRY, "queued"): "queued",
    (Deed.RETRY, "failed"): "queued",
    (Deed.RETRY, "cancelled"): "queued",
    (Deed.SENT, "unknown"): "sent",
    (Deed.NOT_SENT, "unknown"): "failed",
    (Deed.CANCEL, "queued"): "cancelled",
    (Deed.CANCEL, "leased"): "cancelled",
}


def test_each_deed_moves_from_its_states_alone_and_says_why_not() -> None:
    for deed in Deed:
        for state in MessageState:
            found = outcome(deed, state)
            if (deed, state.value) in MOVES:
                assert found == MOVES[deed, state.value]
            else:
                assert isinstance(found, NotAllowed)
                assert found.reason


def test_nothing_in_doubt_goes_out_again_in_one_step() -> None:
    reached = {outcome(deed, MessageState.UNKNOWN) for deed in Deed}
    assert MessageState.QUEUED not in reached
    refused = outcome(Deed.RETRY, MessageState.UNKNOWN)
    assert isinstance(refused, NotAllowed)
    assert "resolve it first" in refused.reason


LOG = """\
Mar  3 12:13:20 mail postfix/smtpd[101]: 4F1A2B3C4D: client=localhost[127.0.0.1]
Mar  3 12:13:20 mail postfix/cleanup[102]: 4F1A2B3C4D: message-id=<one@warmline.example>
Mar  3 12:13:20 mail postfix/qmgr[103]: 4F1A2B3C4D: from=<b@warmline.example>, size=23811, nrcpt=1 (queue active)
Mar  3 12:13:21 mail postfix/smtp[104]: 4F1A2B3C4D: to=<ann@example.net>, relay=mx.example.net[192.0.2.1]:25, \
delay=1.2, delays=0.1/0/0.5/0.6, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as ABC)
Mar  3 12:13:21 mail postfix/qmgr[103]: 4F1A2B3C4D: removed
2026-03-03T12:13:22.123456+00:00 mail postfix/cleanup[102]: 4Wq1xy0Zz9zKj: message-id=<two@warmline.example>
2026-03-03T12:13:22.223456+00:00 mail postfix/smtpd[101]: lost connection after DATA (23000 bytes) from localhost
Mar  3 12:14:00 mail postfix/cleanup[102]: 5A00000001: message-id=<three@warmline.example>
Mar  3 12:14:00 mail postfix/qmgr[103]: 5A00000001: from=<b@warmline.example>, size=23811, nrcpt=1 (queue active)
Mar  3 12:14:01 mail postfix-out/smtp[104]: 6B00000001: to=<x@example.net>, dsn=2.0.0, status=sent (250 another's)
Mar  3 12:14:02 mail postfix-out/cleanup[9]: 6B00000002: message-id=<four@warmline.example>
Mar  3 12:14:02 mail postfix-out/lmtp[9]: 6B00000002: to=<bob@example.net>, dsn=5.1.1, status=bounced (550 no such user)
Mar  3 12:14:03 mail postfix/cleanup[102]: 4F1A2B3C4D: message-id=<not-ours@example.org>
Mar  3 12:14:03 mail postfix/smtp[104]: 4F1A2B3C4D: to=<x@example.net>, dsn=5.0.0, status=bounced (not about ours)
Mar  3 12:14:04 mail postfix/cleanup[102]: 7C00000001: message-id=<five@warmline.example>
Mar  3 12:14:04 mail postfix/qmgr[103]: 7C00000001: removed
"""
WANTED = [f"<{name}@warmline.example>" for name in ("one", "two", "three", "four", "five", "six")]


def test_a_log_proves_what_the_queue_manager_or_an_agent_had() -> None:
    found = taken_over(LOG.splitlines(keepends=True), WANTED)
    assert {name: proof.words for name, proof in found.items()} == {
        "<one@warmline.example>": "sent: 250 2.0.0 Ok: queued as ABC",
        "<three@warmline.example>": "queued by the relay",
        "<four@warmline.example>": "bounced: 550 no such user",
    }


@given(st.lists(st.sampled_from(LOG.splitlines()) | st.text(max_size=80)))
def test_any_lines_are_read_and_only_what_is_wanted_is_found(lines: list[str]) -> None:
    assert set(taken_over(lines, WANTED[:1])) <= {WANTED[0]}


def test_a_name_without_proof_is_no_proof() -> None:
    assert taken_over(["x postfix/cleanup[1]: ABCDEF: message-id=<one@warmline.example>"], WANTED) == {}
    assert taken_over([], WANTED) == {}


@pytest.mark.parametrize("said", ["status=sent", "status=sent ()"])
def test_words_may_be_missing(said: str) -> None:
    lines = [LOG.splitlines()[1], f"m postfix/smtp[1]: 4F1A2B3C4D: to=<a@b.c>, {said}"]
    assert taken_over(lines, WANTED)[WANTED[0]].words == "sent"
