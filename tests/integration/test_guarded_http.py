"""What goes out, goes to an address that was looked at: neither a name nor a redirect changes that."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from models.rules.webhooks import Endpoint
from tasks.guarded_http import Guarded
from tasks.webhooks import client, post
from tests.certificates import self_signed
from tests.faulty_http import receiving


class NameServer:
    """Answers one lookup after the other; the last answer goes on."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), list[str]()

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def sending(
    names: NameServer, is_private_allowed: bool = False, **options: object
) -> AsyncIterator[httpx.AsyncClient]:
    transport = Guarded(is_private_allowed, names, **options)
    async with httpx.AsyncClient(transport=transport, follow_redirects=False, timeout=5) as http:
        yield http


async def test_a_name_that_leads_into_a_private_network_is_not_followed() -> None:
    async with receiving() as receiver:
        for address in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1"):
            async with sending(NameServer([address])) as http:
                with pytest.raises(httpx.ConnectError, match="a private address"):
                    await http.post(f"http://crm.example:{receiver.port}/", content=b"{}")
        assert receiver.heard == []


async def test_one_lookup_decides_so_that_a_second_answer_changes_nothing() -> None:
    names = NameServer(["127.0.0.1"], ["10.0.0.9"])
    async with receiving() as receiver, sending(names, is_private_allowed=True, verify=False) as http:
        answer = await http.post(f"http://crm.example:{receiver.port}/", content=b"{}")
        assert (answer.status_code, names.asked) == (200, ["crm.example"])
        assert receiver.heard[0].headers["host"] == f"crm.example:{receiver.port}"


async def test_the_next_address_is_tried_where_one_takes_no_connection() -> None:
    async with receiving() as receiver, sending(NameServer(["127.0.0.9", "127.0.0.1"]), True, verify=False) as http:
        assert (await http.post(f"http://crm.example:{receiver.port}/", content=b"{}")).status_code == 200


async def test_loopback_is_reached_by_its_own_name_alone() -> None:
    async with receiving() as receiver:
        for host in ("127.0.0.1", "localhost"):
            endpoint = Endpoint(url=f"http://{host}:{receiver.port}/hooks")
            async with client(endpoint) as http:
                assert (await post(http, endpoint, "msg_1", b"{}", [b"k" * 24], 1)).status == 200
        # Spellings of 127.0.0.1 that a resolver understands and a list of addresses does not.
        for host in ("2130706433", "0x7f000001", "127.1"):
            async with httpx.AsyncClient(transport=Guarded(False, verify=False)) as http:
                with pytest.raises(httpx.ConnectError):
                    await http.post(f"http://{host}:{receiver.port}/", content=b"{}")
        assert len(receiver.heard) == 2


async def test_the_certificate_is_checked_by_the_name_not_by_the_address(tmp_path: Path) -> None:
    file = self_signed(tmp_path, "crm.example")
    trusted = ssl.create_default_context(cafile=str(file))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(file)
    async with receiving(tls=served) as receiver, sending(NameServer(["127.0.0.1"]), True, verify=trusted) as http:
        assert (await http.post(f"https://crm.example:{receiver.port}/", content=b"{}")).status_code == 200
        with pytest.raises(httpx.ConnectError, match=r"crm2\.example"):
            await http.post(f"https://crm2.example:{receiver.port}/", content=b"{}")


async def test_a_redirect_into_a_private_network_is_an_answer_not_a_way() -> None:
    async with receiving() as inner, receiving(f"302 to {inner.url}") as outer:
        endpoint = Endpoint(url=outer.url)
        async with client(endpoint) as http:
            answer = await post(http, endpoint, "msg_1", b"{}", [b"k" * 24], 1)
        assert "redirects are not followed" in answer.told
        assert inner.heard == []
