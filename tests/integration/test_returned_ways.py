"""The ways by which mail comes back, with the real parts: Dovecot's IMAP, Postfix's DSNs over LMTP."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from models.errors import DeliveryError, StorageError
from models.workspace import Workspace
from tasks import mailbox
from tasks.composition import Composer
from tasks.rendering import templates_of
from tasks.returned_mail import read_next
from tests import dovecot_server, postfix_server
from tests.mail_world import fill, nurture, send_all, wall
from tests.real_programs import left_out, needed
from tests.returned_world import World, returning_workspace
from web.lmtp import listening


def lmtp(address: str, recipients: list[str], content: bytes) -> list[str]:
    """The answers that a mail server hears for one mail."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client, client.makefile("rwb") as stream:
        answers = [stream.readline()]

        def say(line: str) -> str:
            stream.write(line.encode() + b"\r\n")
            stream.flush()
            while (answer := stream.readline())[3:4] == b"-":
                pass
            answers.append(answer)
            return answer.decode().rstrip()

        say("LHLO relay.example")
        said = [say("MAIL FROM:<>"), *(say(f"RCPT TO:<{one}>") for one in recipients), say("DATA")]
        stream.write(content.replace(b"\n", b"\r\n") + b"\r\n.\r\n")
        stream.flush()
        return said + [stream.readline().decode().rstrip() for _ in recipients]


@pytest.mark.feature("N7")
def test_lmtp_answers_for_each_recipient_once_the_mail_is_in_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(returning_workspace(tmp_path, f"sqlite:///{tmp_path}/w.db", settings="  lmtp_port: 0\n"))
    sent = world.send(1)
    mail = world.made("out-of-office", 1, sent, verp="hello@warmline.example")
    mail = mail.replace(sent.encode(), b"<somebody@else.example>")  # only the envelope says which mail it is about
    with listening(world.workspace, wall) as address:
        assert address is not None
        answers = lmtp(address, [world.verp(sent).upper(), "b@bounces.example"], mail)
        assert answers[-2:] == ["250 2.0.0 kept"] * 2
        assert world.rows("SELECT way, state FROM returned_mails") == [("lmtp", "waiting")]

        def full(*given: object, **named: object) -> int:
            raise StorageError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr("models.queries.returned_mail.keep", full)
            assert lmtp(address, ["b@bounces.example"], mail + b"other")[-1].startswith("451 4.3.0")
    read_next(world.workspace, wall())
    assert world.acts() == [("lead1@example.net", "email_auto_reply")]
    world.workspace.database.close()


@pytest.mark.feature("N7")
def test_a_mailbox_is_read_once_whoever_dies_between_keeping_and_marking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("dovecot", "doveadm")
    if os.geteuid() != 0:
        left_out("Dovecot with a configuration of its own can only be started by root")
    monkeypatch.setenv("WARMLINE_MAILBOX__PASSWORD", dovecot_server.PASSWORD)
    url = f"sqlite:///{tmp_path}/w.db"
    with dovecot_server.running() as server:
        given = f"mailbox: {{host: 127.0.0.1, port: {server.port}, tls: none, username: b}}\n"
        world = World(returning_workspace(tmp_path, url, settings=given))
        sent = world.send(1)
        mails = [world.made("postfix-unknown-user", 1, sent), *(b"Subject: %d\n\nhi" % n for n in range(24))]
        server.put(mails)

        with monkeypatch.context() as patched:
            patched.setattr(mailbox._Mark, "put", killed)
            with pytest.raises(KeyboardInterrupt):
                mailbox.fetch_new(world.workspace, world.now)
        assert mailbox.fetch_new(world.workspace, world.now) == {"fetched": 25, "new": 5}  # 20 were kept before
        assert mailbox.fetch_new(world.workspace, world.now) == {"fetched": 0, "new": 0}
        assert server.count() == 25
        read_next(world.workspace, world.now)
        assert world.message(sent)[1] == 1

        moving = Workspace.open(tmp_path, {"mailbox": {"processed": "Done"}})
        assert mailbox.fetch_new(moving, world.now) == {"fetched": 25, "new": 0}
        assert (server.count(), server.count("Done")) == (0, 25)

        wrong = Workspace.open(tmp_path, {"mailbox": {"folder": "Nowhere"}})
        with pytest.raises(DeliveryError, match="folder 'Nowhere', cannot be read"):
            mailbox.fetch_new(wrong, world.now)
        for workspace in (world.workspace, moving, wrong):
            workspace.database.close()


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.feature("N7")
async def test_what_a_real_postfix_cannot_deliver_comes_back_to_its_message(tmp_path: Path) -> None:
    needed("postfix")
    if reason := postfix_server.obstacle():
        left_out(reason)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    transports = {
        "gone.example": "error:5.1.1 no such user here",
        "blocked.example": "error:5.7.1 blocked by our policy",
        "bounces.example": f"lmtp:inet:[127.0.0.1]:{port}",
    }
    with postfix_server.running(transports) as server:
        workspace = returning_workspace(tmp_path, f"sqlite:///{tmp_path}/w.db", server.port, f"  lmtp_port: {port}\n")
        world, now = World(workspace), wall()
        people = ["ann@gone.example", "bob@blocked.example", "carol@fine.example"]
        fill(workspace, [nurture(number, now, recipient=person) for number, person in enumerate(people)], now)
        composer = Composer(
            templates_of(workspace), workspace.settings.sender, None, workspace.secret_key, mailbox="b@bounces.example"
        )
        with listening(workspace, wall):
            counts = await send_all(workspace, composer=composer)
            assert counts["sent"] == 3, server.log
            for _ in range(300):
                if world.rows("SELECT count(*) FROM returned_mails") == [(2,)]:
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError(server.log[-3000:])
        counts = dict(read_next(workspace, wall()))
        assert counts == {"read": 2, "bounce": 2, "bounced hard": 1, "bounced policy": 1, "suppressed": 1}
        said = {
            person: (state, bounce)
            for person, state, bounce in world.rows("SELECT recipient, state, bounce FROM messages")
        }
        assert said["ann@gone.example"] == ("sent", "hard 5.1.1: no such user here")
        assert said["bob@blocked.example"] == ("sent", "policy 5.7.1: blocked by our policy")
        assert said["carol@fine.example"] == ("sent", None)
        workspace.database.close()
