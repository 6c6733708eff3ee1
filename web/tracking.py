"""Where the links of our mails lead: a redirect to what the database says, and a picture; every hit is kept.

Decides that whoever follows a link is never kept waiting: the hit is handed to the inbox (web.reception), and the
redirect is answered once it is on the disk, or after a moment, whatever the database does. A GET changes nothing about
anybody: what a hit means is told later, machines' among them (models.rules.tracking, models.rules.suspicion).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from models.errors import StorageError
from models.queries import links, recipients
from models.rules.links import TRAP, link_key, read_mail_token
from models.rules.tracking import LONGEST_AGENT, NAME, SOURCE, Hit
from models.tables import ReceivedBatch
from models.workspace import Workspace
from web.pages import Pages
from web.reception import Overloaded, Reception

log = logging.getLogger("warmline.tracking")
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address is a signed link
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
PICTURE = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel, as GIF."""
PATIENCE_SECONDS = 0.25
"""How long a redirect waits for its hit to be on the disk. After that it is kept all the same, a little later."""
AGAIN_SECONDS = (1, 2, 4, 8, 15, 30, 60, 60)
"""When a hit that could not be kept is tried again."""
MOST_AGAIN = 5_000
"""Hits that wait for that at most: memory stays flat, however long the database is away."""
REMEMBERED = 10_000
"""Links whose destinations are remembered."""
PER_MINUTE = 120
"""Hits of one mail that are kept in a minute: no person does more, and nobody fills the disk by one link."""
Letters = Annotated[str, Path(max_length=200)]


def tracking_routes(workspace: Workspace, clock: Callable[[], int], reception: Reception, pages: Pages) -> APIRouter:
    """The routes. `clock` gives programme time in microseconds."""
    router = APIRouter(include_in_schema=False)
    desk = _Desk(workspace, clock, reception, pages)

    @router.api_route("/c/{mail}/{link}", methods=["GET", "HEAD"])
    async def follow(mail: Letters, link: Letters, request: Request) -> Response:
        return await desk.follow(mail, link, request)

    @router.api_route("/o/{mail}", methods=["GET", "HEAD"])
    async def picture(mail: Letters, request: Request) -> Response:
        return await desk.picture(mail, request)

    return router


class _Desk:
    """The acts behind the routes."""

    def __init__(self, workspace: Workspace, clock: Callable[[], int], reception: Reception, pages: Pages) -> None:
        self._workspace, self._clock, self._pages = workspace, clock, pages
        self._keeper = _Keeper(reception)
        self._destinations: OrderedDict[bytes, str] = OrderedDict()
        self._pace = _Pace()

    async def follow(self, token: str, letters: str, request: Request) -> Response:
        name, key = read_mail_token(self._workspace.tokens, token), link_key(letters)
        if name is None or key is None:
            return self._pages.invalid(request)
        try:
            url = self._destinations.get(key) or await run_in_threadpool(self._look_up, key)
        except StorageError as error:
            log.error("a link could not be looked up: %s", error)
            return self._pages.told("trouble", 503, self._pages.texts(request=request), **{"Retry-After": "5"})
        if url is None:
            return self._pages.invalid(request)
        await self._keep("click", name, letters.lower(), request)
        if url == TRAP:
            return self._pages.told("trap", 200, self._pages.texts(request=request))
        return Response(status_code=302, headers={**HEADERS, "Location": url})

    async def picture(self, token: str, request: Request) -> Response:
        name = read_mail_token(self._workspace.tokens, token)
        if name is None:
            return Response(status_code=404, headers=HEADERS)
        with contextlib.suppress(StorageError):  # the picture comes all the same; an opening is no promise
            if await run_in_threadpool(self._may_tell, name):
                await self._keep("open", name, None, request)
        return Response(PICTURE, 200, HEADERS, "image/gif")

    def _look_up(self, key: bytes) -> str | None:
        with self._workspace.database.read() as connection:
            url = links.destination(connection, key)
        if url is not None:
            self._destinations[key] = url
            while len(self._destinations) > REMEMBERED:
                self._destinations.popitem(last=False)
        return url

    def _may_tell(self, name: str) -> bool:
        """Whether the person grants it still, and the settings ask for it."""
        if self._workspace.settings.tracking.opens != "consented":
            return False
        domains = self._workspace.message_domains
        with self._workspace.database.read() as connection:
            secret, now = self._workspace.secret_key, self._clock()
            return recipients.may_tell_of_opening(connection, secret, f"<{name}@{domains[0]}>", domains, now)

    async def _keep(self, kind: Literal["click", "open"], mail: str, link: str | None, request: Request) -> None:
        if not self._pace.allows(mail, time.monotonic()):
            return
        agent = request.headers.get("user-agent", "")[:LONGEST_AGENT]
        purposes = (request.headers.get(name, "") for name in ("sec-purpose", "purpose", "x-moz", "x-purpose"))
        is_prefetch = any("prefetch" in said.lower() or said.lower() == "preview" for said in purposes)
        hit = Hit(secrets.token_hex(10), kind, mail, link, request.method, agent, is_prefetch)
        await self._keeper.keep(
            ReceivedBatch(source=SOURCE, form=NAME, received_at=self._clock(), content=hit.content())
        )


class _Keeper:
    """Hands hits to the inbox, and tries again what the inbox cannot take."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._again: set[asyncio.Task[None]] = set()

    async def keep(self, batch: ReceivedBatch) -> None:
        """Returns when the hit is on the disk, or PATIENCE_SECONDS later."""
        task = asyncio.create_task(self._persist(batch))
        self._again.add(task)
        task.add_done_callback(self._again.discard)
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)

    async def _persist(self, batch: ReceivedBatch) -> None:
        for wait in (*AGAIN_SECONDS, None):
            try:
                await self._reception.keep(batch)
            except (Overloaded, StorageError) as error:
                if wait is None or len(self._again) > MOST_AGAIN:
                    log.error("a hit on a link is lost: %s", error or "the database takes nothing")
                    return
                await asyncio.sleep(wait)
            else:
                return


class _Pace:
    """How many hits of one mail are kept in a minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._hits: Counter[str] = Counter()

    def allows(self, mail: str, now: float) -> bool:
        minute = int(now // 60)
        if minute != self._minute or len(self._hits) > 100_000:
            self._minute = minute
            self._hits.clear()
        self._hits[mail] += 1
        if self._hits[mail] == PER_MINUTE + 1:
            log.warning("more than %d hits on the links of one mail in a minute: the others are not kept", PER_MINUTE)
        return self._hits[mail] <= PER_MINUTE
