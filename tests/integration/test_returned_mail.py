"""What mails that came back lead to: for the message, the address and the lead; once, and only if they are true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from models.queries import erasure, messages, returned_mail
from models.queries.returned_mail import Waiting
from models.rules.durations import parse_half_life
from models.rules.instants import DAY
from models.rules.tokens import Tokens, Unsubscription, suppression_digest
from models.settings import Bounces
from models.workspace import Workspace
from tasks.returned_mail import Reader, Understood, forget, forget_batch, identity, keep_mails, read_next
from tests.returned_world import MAILBOX, World, returning_workspace


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    made = World(returning_workspace(tmp_path, database_url))
    yield made
    made.workspace.database.close()


@pytest.mark.feature("N7", "I3")
def test_a_hard_bounce_marks_its_message_suppresses_its_address_and_is_an_act_of_the_lead(world: World) -> None:
    sent = world.send(1)
    mail = world.made("postfix-unknown-user", 1, sent)

    assert world.receive(mail) == {"read": 1, "bounce": 1, "bounced hard": 1, "suppressed": 1}
    state, bounced, said = world.message(sent)
    assert (state, bounced) == ("sent", 1)
    assert said.startswith("hard 5.1.1: 550 5.1.1")
    assert world.suppressed() == [("all", "bounced: 5.1.1 unknown user")]
    assert world.acts() == [("lead1@example.net", "email_bounce")]
    assert world.rows("SELECT subject_id FROM work_queue WHERE queue = 'route'") != []

    assert world.receive(mail, mail.replace(b"\n", b"\r\n")) == {}  # the same mail again, by another way
    assert world.acts() == [("lead1@example.net", "email_bounce")]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_went_out_from_an_earlier_address_is_still_understood(world: World) -> None:
    sent, workspace = world.send(1), world.workspace
    mail = Waiting(1, world.made("postfix-unknown-user", 1, sent), (), 0)

    def understood(bounces: Bounces) -> Understood:
        return Reader(bounces, workspace.secret_key, workspace.message_domains).understood(mail)

    moved = "b@elsewhere.example"
    assert understood(Bounces(address=moved, earlier=(MAILBOX,))) == understood(Bounces(address=MAILBOX))
    assert understood(Bounces(address=moved)) != understood(Bounces(address=MAILBOX))


@pytest.mark.feature("N7", "N6")
def test_what_went_out_from_an_earlier_domain_comes_back_to_its_message(world: World) -> None:
    sent, answered, asked = world.send(1), world.send(2), world.send(3)
    secret, root = world.workspace.secret_key, world.workspace.root
    token = Unsubscription(suppression_digest(secret, "lead3@example.net"), asked).token(Tokens(secret))
    wish = world.made("unsubscribe", 3, asked).replace(
        b"Subject: unsubscribe", b"Subject: unsubscribe " + token.encode()
    )
    mails = [world.made("postfix-unknown-user", 1, sent), world.made("reply", 2, answered), wish]

    moved = {"sender": {"email": "hello@new.example"}}
    world.workspace.database.close()
    world.workspace = Workspace.open(root, moved)
    assert world.receive(mails[0].replace(b"Message-ID: <", b"Message-ID: <again."), mails[1]) == {
        "read": 2,
        "kept": 1,
        "reply": 1,
    }
    world.workspace.database.close()
    world.workspace = Workspace.open(root, {"sender": {**moved["sender"], "earlier": ["hello@warmline.example"]}})
    assert world.receive(mails[0], mails[2]) == {
        "read": 2,
        "bounce": 1,
        "bounced hard": 1,
        "unsubscribe": 1,
        "suppressed": 1,
    }
    assert world.message(sent)[1] == 1
    assert world.acts() == [
        ("lead1@example.net", "email_bounce"),
        ("lead2@example.net", "email_reply"),
        ("lead3@example.net", "unsubscribe"),
    ]
    domains = world.workspace.message_domains
    with world.workspace.database.read() as connection:  # as the pages behind a link of such a mail ask
        assert messages.called(connection, sent.replace("@warmline.example", "@new.example"), domains) == sent
        assert messages.called(connection, "<nobody@new.example>", domains) == "<nobody@new.example>"


@pytest.mark.feature("N7")
def test_what_speaks_of_us_or_may_pass_suppresses_nobody(world: World) -> None:
    policy, full = world.send(1), world.send(2)

    counts = world.receive(world.made("exchange-policy", 1, policy), world.made("exim-mailbox-full", 2, full))
    assert counts == {"read": 2, "bounce": 2, "bounced policy": 1, "bounced soft": 1}
    assert world.suppressed() == []
    assert world.message(policy)[2].startswith("policy 5.7.1")
    assert world.message(full)[1] == 1


@pytest.mark.feature("N7")
def test_an_unclear_refusal_is_a_strike_and_the_second_one_of_another_mail_suppresses(world: World) -> None:
    one, other = world.send(1, step=0), world.send(1, step=1)
    words = "Service unavailable; Client host [192.0.2.1] blocked using a blocklist"
    mails = []
    for name in (one, other):
        text = world.made("exchange-policy", 1, name).decode().replace("5.7.1", "5.0.0").replace(words, "no")
        mails.append(text.replace("konnte nicht zugestellt werden", "").encode())

    world.receive(mails[0])
    assert world.suppressed() == []
    world.receive(mails[0].replace(b"Message-ID: <", b"Message-ID: <again."))  # a second report of the same mail
    assert world.suppressed() == []
    world.receive(mails[1])
    assert world.suppressed() == [("all", "bounced 2 times for good: 5.0.0 unclear")]


@pytest.mark.feature("N7")
def test_an_address_that_refuses_for_now_for_two_weeks_is_held(world: World) -> None:
    names = [world.send(1, step=step) for step in range(3)]
    for name, day in zip(names, (0, 7, 13), strict=True):
        world.receive(world.made("exim-mailbox-full", 1, name), days=day)
    assert world.suppressed() == []
    world.receive(world.made("exim-mailbox-full", 1, world.send(1, step=3)), days=15)
    assert [scope for scope, _ in world.suppressed()] == ["all"]
    assert world.suppressed()[0][1].startswith("refused 4 mails for now over 15 days")


@pytest.mark.feature("N7")
def test_a_forged_bounce_suppresses_nobody_and_is_kept(world: World) -> None:
    sent, other = world.send(1), world.send(2)
    true = world.verp(sent)
    false = true.replace(true[-20:-16], "aaaa") if true[-20:-16] != "aaaa" else true.replace("aaaa", "bbbb")
    stranger = "<" + "a" * 32 + "@warmline.example>"
    forged = [
        world.made("postfix-unknown-user", 1, sent, verp=f"b+{true[2:34]}.{'a' * 16}@bounces.example"),
        world.made("postfix-unknown-user", 1, sent, verp=false),
        world.made("qmail-unknown-user", 1, stranger, verp=MAILBOX),
        # a true envelope sender, told of somebody else's address together with a third one's
        world.made("postfix-unknown-user", 7, other).replace(b"bob@acme.example", b"lead8@example.net"),
    ]

    assert world.receive(*forged)["kept"] == 4
    assert world.suppressed() == []
    assert world.acts() == []
    kept = {reason for (reason,) in world.rows("SELECT reason FROM returned_mails WHERE state = 'kept'")}
    assert any("false signature" in reason for reason in kept)
    assert any("no mail of ours" in reason for reason in kept)
    assert any("several recipients" in reason for reason in kept)


@pytest.mark.feature("N7")
def test_without_the_envelope_sender_the_returned_message_id_leads_to_the_message(world: World) -> None:
    sent = world.send(1)
    world.receive(world.made("qmail-unknown-user", 1, sent, verp=MAILBOX))
    assert world.message(sent)[1] == 1
    assert len(world.suppressed()) == 1


@pytest.mark.feature("N7", "I3")
def test_complaints_answers_and_replies_are_acts_and_only_a_complaint_suppresses(world: World) -> None:
    mails = []
    for number, name in enumerate(("complaint", "out-of-office", "challenge", "reply"), 1):
        mails.append(world.made(name, number, world.send(number)))

    counts = world.receive(*mails)
    assert counts == {"read": 4, "complaint": 1, "auto_reply": 2, "reply": 1, "suppressed": 1}
    assert world.acts() == [
        ("lead1@example.net", "spam_complaint"),
        ("lead2@example.net", "email_auto_reply"),
        ("lead3@example.net", "email_auto_reply"),
        ("lead4@example.net", "email_reply"),
    ]
    assert world.suppressed() == [("all", "complained about a mail")]
    assert world.rows("SELECT count(*) FROM messages WHERE bounced_at IS NOT NULL") == [(0,)]


@pytest.mark.feature("N7")
@pytest.mark.parametrize("name", ["postfix-unknown-user", "delivered", "out-of-office"])
def test_a_mail_that_comes_back_tells_that_a_message_in_doubt_was_taken(world: World, name: str) -> None:
    doubtful = world.send(1, state="unknown")
    assert world.receive(world.made(name, 1, doubtful))["resolved"] == 1
    assert world.message(doubtful)[0] == "sent"


@pytest.mark.feature("N7", "N6")
def test_a_wish_to_unsubscribe_by_mail_is_obeyed_by_its_token_or_its_sender(world: World) -> None:
    sent, secret = world.send(1), world.workspace.secret_key
    token = Unsubscription(suppression_digest(secret, "lead1@example.net"), sent).token(Tokens(secret))
    plain = world.made("unsubscribe", 1, sent)
    by_token = plain.replace(b"Subject: unsubscribe", f"Subject: unsubscribe {token.upper()}".encode())
    world.send(2)
    by_sender = plain.replace(b"lena@acme.example", b"lead2@example.net") + b"please"
    stranger = plain + b"who am I"

    counts = world.receive(by_token, by_sender, stranger)
    assert (counts["unsubscribe"], counts["kept"]) == (2, 1)
    assert world.suppressed() == [("nurture", "unsubscribed by mail")] * 2
    assert ("lead1@example.net", "unsubscribe") in world.acts()


@pytest.mark.feature("N7")
def test_what_is_about_an_alert_is_no_act_of_the_lead(world: World) -> None:
    sent = world.send(1, kind="alert")
    world.receive(world.made("postfix-unknown-user", 1, sent))
    assert world.message(sent)[1] == 1
    assert (world.acts(), world.suppressed()) == ([], [])


@pytest.mark.feature("N7")
def test_the_bytes_go_in_time_and_what_was_made_of_them_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.returned_mail.DROPPED", 2)
    folder, mails = str(world.workspace.root), [world.made("reply", one, world.send(one)) for one in (1, 2, 3)]
    world.receive(*mails)
    world.receive(world.made("reply", 4, world.send(4)), days=2)
    keep_mails(world.workspace, [(b"Subject: late\n\nstill to be read", ())], "file", world.now)
    facts = "SELECT id, kind, message_id, outcome, digest FROM returned_mails ORDER BY id"
    before = world.rows(facts)

    assert forget_batch.fn(folder, world.now + 90 * DAY) == {"dropped": 0}
    assert forget_batch.fn(folder, world.now + 91 * DAY) == {"dropped": 3}
    assert forget_batch.fn(folder, world.now + 91 * DAY) == {"dropped": 0}
    assert world.rows("SELECT id FROM returned_mails WHERE length(content) > 0 ORDER BY id") == [(4,), (5,)]
    assert world.rows(facts) == before
    assert keep_mails(world.workspace, [(mails[0], ())], "imap", world.now) == 0
    with world.workspace.database.read() as connection:
        assert returned_mail.content(connection, 1) == b""
    for_ever = world.workspace.settings.bounces.model_copy(update={"keep_content": parse_half_life("none")})
    monkeypatch.setattr(world.workspace, "settings", world.workspace.settings.model_copy(update={"bounces": for_ever}))
    assert forget(world.workspace, world.now + 900 * DAY) == 0


@pytest.mark.feature("N6", "N7")
def test_a_person_is_erased_from_mails_that_no_message_leads_to(world: World) -> None:
    lost = world.made("postfix-unknown-user", 1, world.send(1), verp=MAILBOX).replace(
        b"@warmline.example", b"@lost.example"
    )
    others = lost.replace(b"lead1@example.net", b"lead2@example.net").replace(b"Message-ID: <", b"Message-ID: <two.")
    letter = b"From: Lead One <LEAD1@example.net>\nSubject: hello\n\nwho are you?"
    reply, other = world.made("reply", 1, world.send(1, step=1)), world.made("reply", 2, world.send(2))
    world.receive(lost, others, letter, reply, other)
    [(lead,)] = world.rows("SELECT id FROM leads WHERE email = 'lead1@example.net'")

    assert world.rows("SELECT count(*) FROM returned_mails") == [(5,)]
    with world.workspace.database.write(durable=True) as connection:
        erasure.erase(connection, world.workspace.secret_key, lead, world.now)
    stays = {identity(others), identity(other)}
    assert {bytes(digest) for (digest,) in world.rows("SELECT digest FROM returned_mails")} == stays
    gone = "SELECT * FROM returned_addresses WHERE returned_mail_id NOT IN (SELECT id FROM returned_mails)"
    assert (world.rows(gone), len(world.rows("SELECT * FROM returned_addresses")) >= 2) == ([], True)


@pytest.mark.feature("N7")
def test_whatever_comes_is_kept_with_a_reason(world: World) -> None:
    mails = [b"", b"\xff\x00\xfe" * 50, b"Subject: hello\n\nhi", world.made("stranger", 1, world.send(1))]
    assert world.receive(*mails) == {"read": 4, "kept": 4}
    assert world.rows("SELECT count(*) FROM returned_mails WHERE state = 'kept' AND reason IS NOT NULL") == [(4,)]


def test_two_readers_at_once_close_each_mail_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = world.send(1)
    keep_mails(world.workspace, [(world.made("reply", 1, sent), ())], "file", world.now)
    ask, quicker = returned_mail.waiting, []

    def overtaken(connection: Connection, limit: int) -> list[Waiting]:
        found = ask(connection, limit)
        if not quicker:
            quicker.append(True)
            assert dict(read_next(world.workspace, world.now)) == {"read": 1, "reply": 1}
        return found

    monkeypatch.setattr(returned_mail, "waiting", overtaken)
    assert dict(read_next(world.workspace, world.now)) == {}
    assert world.acts() == [("lead1@example.net", "email_reply")]
