"""Amazon SNS at the other end: its certificates, fetched once a day, and the confirmation of subscriptions.

Decides how Amazon is called: https alone, no redirects, no proxies or passwords of the environment, little time, few
bytes, seldom. Which addresses may be called, and whether a message is genuine: models.rules.hooks.sns.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

import httpx

from models.errors import WarmlineError
from models.rules.collector import Rates
from web.reception import Overloaded

log = logging.getLogger("warmline.hooks")
SECONDS = 5.0
LARGEST = 20_000
"""Bytes of an answer: a certificate has two thousand."""
FRESH_SECONDS = 86_400.0
MOST_KEPT = 16
CALLS_PER_SECOND = 1.0
RETRY_SECONDS = 30


class UnreachableError(WarmlineError):
    """Amazon could not be asked for what is needed to believe it: it sends its message again."""


class Amazon:
    """Calls Amazon. `transport`: what requests go out by, if not the network."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._rates = Rates(CALLS_PER_SECOND)

    async def certificate(self, url: str) -> bytes:
        """The certificate (PEM) at an address that models.rules.hooks.sns.foreign has nothing against.

        UnreachableError if it cannot be had now; Overloaded if Amazon was asked too often.
        """
        found = self._kept.get(url)
        if found is not None and time.monotonic() - found[0] < FRESH_SECONDS:
            return found[1]
        content = await self._get(url)
        self._kept[url] = (time.monotonic(), content)
        self._kept.move_to_end(url)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return content

    async def confirm(self, url: str, topic: str) -> None:
        """Subscribe, at an address that models.rules.hooks.sns.unconfirmable has nothing against. Errors as above."""
        await self._get(url)
        log.info("subscribed to %s", topic)

    async def _get(self, url: str) -> bytes:
        if wait := self._rates.wait("", time.monotonic()):
            raise Overloaded(wait)
        parts: list[bytes] = []
        try:
            async with (
                asyncio.timeout(SECONDS),
                httpx.AsyncClient(transport=self._transport, follow_redirects=False, trust_env=False) as http,
                http.stream("GET", url, headers={"accept-encoding": "identity"}) as response,
            ):
                if response.status_code != 200:
                    raise UnreachableError(f"Amazon answered {response.status_code}")
                size = 0
                async for part in response.aiter_raw():
                    size += len(part)
                    if size > LARGEST:
                        raise UnreachableError(f"Amazon sent more than {LARGEST:,} bytes")
                    parts.append(part)
        except TimeoutError as error:
            raise UnreachableError(f"Amazon did not answer within {SECONDS:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(f"Amazon cannot be reached: {type(error).__name__}") from error
        return b"".join(parts)
