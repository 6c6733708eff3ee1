"""Addresses and names as people and attackers write them, through the real driver into a real server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from cli.sink import start_sink
from tests.mail_world import alert, fill, make_workspace, nurture, rows, send_all

NOW = 1_772_540_000_000_000

DELIVERED = {
    "ann@münchen.de": "ann@xn--mnchen-3ya.de",
    "ann@faß.de": "ann@xn--fa-hia.de",
    "ann@日本語.jp": "ann@xn--wgv71a119e.jp",
    "zoë@example.net": "zoë@example.net",
    "用户@例え.jp": "用户@xn--r8jz45g.jp",
    " O'Brien+news@Example.NET. ": "O'Brien+news@example.net",
    "a" * 64 + "@example.net": "a" * 64 + "@example.net",
}
REFUSED = {
    '"ann b"@example.net': "quoted local parts",
    "a" * 65 + "@example.net": "longer than RFC 5321 allows",
    "a" * 64 + "@" + ".".join(["b" * 63] * 4) + ".de": "which is no domain name",
    "ann@" + "b" * 316: "which is no domain name",
    "ann@example.net\r\nDATA\r\n.": "U+000D",
    "ann@example.net\nBcc: eve@example.com": "U+000A",
    "ann\x00@example.net": "U+0000",
    "ann@example.net,eve@example.com": "found two addresses",
    "ann@example.net eve@example.com": "found two addresses",
    "<ann@example.net>": "character before the `@`",
    "ann@example.net>": "which is no domain name",
    "ann": "found no `@`",
    "": "found no `@`",
    "ann@[127.0.0.1]": "which is no domain name",
    "ann@\u202eexample.net": "which is no domain name",
}
NAMES = {
    "A\r\nBcc: eve@example.com": "header Subject: found the control character U+000D",
    "A\u2028Bcc: eve@example.com": "header Subject: found the control character U+2028",
    "A\x85Bcc: eve@example.com": "header Subject: found the control character U+0085",
    "=?utf-8?q?A=0D=0ABcc:_eve@example.com?=": "header Subject: found `=?`",
}


async def test_each_address_is_written_to_rightly_or_held_with_its_mistake_and_the_rest_flows(
    tmp_path: Path, database_url: str
) -> None:
    usable = [address for address in [*DELIVERED, *REFUSED] if "\x00" not in address or "sqlite" in database_url]
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, database_url, sink.port)
        fill(workspace, [nurture(n, NOW, recipient=address) for n, address in enumerate(usable)], NOW)
        fill(workspace, [nurture(n + 100, NOW, payload={"lead": {"name": name}}) for n, name in enumerate(NAMES)], NOW)
        fill(workspace, [alert(200, NOW)], NOW)
        counts = await send_all(workspace, NOW)
    assert counts["sent"] == len(DELIVERED) + 1
    assert sorted(to for received in sink.received for to in received.recipients) == sorted(
        [*DELIVERED.values(), "rep200@example.com"]
    )
    assert not any("Bcc" in received.message for received in sink.received)
    held = {row["recipient"]: row for row in rows(workspace) if row["state"] == "failed"}
    for address, said in REFUSED.items():
        if address in usable:
            assert said in held[address]["reason"], address
            assert held[address]["reply"] is None
    for number, said in enumerate(NAMES.values()):
        assert said in held[f"lead{number + 100}@example.net"]["reason"]
    workspace.database.close()


async def test_a_name_of_html_is_text_and_no_markup(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)> & {{ 7 * 7 }} “Zoë”"
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", sink.port)
        fill(workspace, [nurture(1, NOW, payload={"lead": {"name": name}})], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 1
    mail = sink.received[0].message
    assert str(mail["Subject"]) == f"Welcome, {name}"
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "<img" not in html.get_content()
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; {{ 7 * 7 }}" in html.get_content()
    assert f"Hi {name}" in text.get_content()


class _Recipients:
    def __init__(self) -> None:
        self.taken: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.taken += envelope.rcpt_tos
        return "250 ok"


@contextlib.contextmanager
def ascii_server() -> Iterator[tuple[_Recipients, int]]:
    import socket

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    handler = _Recipients()
    controller = Controller(handler, hostname="127.0.0.1", port=port, enable_SMTPUTF8=False)
    controller.start()
    try:
        yield handler, port
    finally:
        controller.stop()


async def test_a_server_without_smtputf8_gets_no_such_address_and_the_message_says_so(tmp_path: Path) -> None:
    with ascii_server() as (handler, port):
        workspace = make_workspace(tmp_path, "sqlite:///w.db", port)
        fill(workspace, [nurture(1, NOW, recipient="zoë@example.net"), nurture(2, NOW, recipient="a@münchen.de")], NOW)
        counts = await send_all(workspace, NOW)
    assert (counts["sent"], counts["failed"]) == (1, 1)
    assert handler.taken == ["a@xn--mnchen-3ya.de"]
    assert "not ASCII and the server does not offer SMTPUTF8" in rows(workspace)[0]["reason"]
