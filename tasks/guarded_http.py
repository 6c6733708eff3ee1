"""An HTTP transport that looks where a name leads before it connects: no request of ours gets into a private network.

Resolves the host itself, asks models.rules.destinations about each address, and connects to an address that passed, so
that a name server which answers differently a moment later (DNS rebinding) changes nothing. TLS is checked by the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from models.rules.destinations import is_loopback, is_public

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → its addresses, the preferred one first; OSError if there are none."""


async def resolved(host: str, port: int) -> list[str]:
    """The addresses by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


class Guarded(httpx.AsyncBaseTransport):
    """Sends to the public internet, to loopback where the URL says so itself, elsewhere only if `is_private_allowed`.

    `options` are those of httpx.AsyncHTTPTransport.
    """

    def __init__(self, is_private_allowed: bool, resolve: Resolve = resolved, **options: Any) -> None:
        self._is_private_allowed, self._resolve, self._options = is_private_allowed, resolve, options
        self._inner: dict[str, httpx.AsyncHTTPTransport] = {}
        """Host → its own connections: they are kept by address, but TLS was checked for the name."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")
        if host not in self._inner:
            self._inner[host] = httpx.AsyncHTTPTransport(trust_env=False, **self._options)
        refused: httpx.ConnectError | None = None
        for address in await self._addresses(request, host):
            # The Host header was made when the request was; the name is what the certificate is checked against.
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner[host].handle_async_request(pinned)
            except httpx.ConnectError as error:  # nothing was sent: the next address may answer
                refused = error
        raise refused or httpx.ConnectError(f"{host} has no address", request=request)

    async def _addresses(self, request: httpx.Request, host: str) -> list[str]:
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            found = await self._resolve(host.strip("[]"), port)
        except OSError as error:
            raise httpx.ConnectError(f"{host}: {error.strerror or error}", request=request) from error
        if self._is_private_allowed:
            return found
        if is_loopback(host.strip("[]")):
            return [address for address in found if is_loopback(address)]
        public = [address for address in found if is_public(address)]
        if found and not public:
            why = f"{host} is {found[0]}, a private address; allowed where the endpoint says `private: true`"
            raise httpx.ConnectError(why, request=request)
        return public

    async def aclose(self) -> None:
        for inner in self._inner.values():
            await inner.aclose()
