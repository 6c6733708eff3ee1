"""The collector: whoever has a write key and sends JSON is heard, and hears 200 when it is on the disk.

Decides who may send, how much and how often; never what an event says: a well-formed batch with bad items is 200, and
the bad items end among the rejected records (tasks.drain). The answers are those that published clients need.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import HTTPException, Request

from models.rules.bodies import NotJsonError, TooDeepError, read_json
from models.rules.collector import LONGEST_KEY, Rates
from models.tables import ReceivedBatch
from models.workspace import Workspace
from web.bodies import Bodies, too_large
from web.keyring import Holder, Keyring
from web.meters import Meters
from web.reception import Overloaded, Reception

NO_KEY = "no write key: send it as the user name of Basic authentication, as a Bearer token, or in the body"
BAD_KEY = "the write key lets nobody in"


def parsed(content: bytes) -> Any:
    """The JSON value of a body; HTTPException 400 if it is none, 413 if it is nested too deeply to tell."""
    try:
        return read_json(content)
    except TooDeepError as error:
        raise too_large(f"JSON {error}") from error
    except NotJsonError as error:
        raise HTTPException(400, f"not JSON: {error}") from error


@dataclass(frozen=True)
class Form:
    """What the collector has to know of a form: its name, where its bodies carry a key, and where its events."""

    name: str
    key: Callable[[Any], Any]
    items: Callable[[Any], Any]
    """A list of events, or anything else for one event."""
    plain: Callable[[bytes, int], bytes] = lambda body, most: body
    """(body, bytes at most) → the JSON in it, where browsers wrap it; HTTPException if it is none."""


class Collector:
    """Takes in the events of one workspace. `clock` gives programme time in microseconds."""

    def __init__(
        self, workspace: Workspace, clock: Callable[[], int], bodies: Bodies, reception: Reception, meters: Meters
    ) -> None:
        self._rules = workspace.settings.collector
        self._clock, self._bodies, self._reception, self._meters = clock, bodies, reception, meters
        self._keyring = Keyring(workspace.database, clock)
        self._rates = Rates(self._rules.per_key)

    async def take(
        self,
        request: Request,
        form: Form,
        details: Mapping[str, Any],
        key: str | None = None,
        read: Callable[[bytes], Any] = parsed,
    ) -> None:
        """Keep what the request brings; it is on the disk when this returns.

        `key`: one that came by another way than header or body. `read`: what makes of the body what `form` looks into.
        HTTPException (400, 401, 408, 413, 415), Overloaded (429) or StorageError (503) if it was not kept.
        """
        sent = key_of(request) or key
        holder = await self._holder(sent) if sent else None
        async with self._bodies.read(request) as body:
            content = form.plain(body, self._rules.largest_body)
            # The value is gone before the commit is waited for: it is several times as large as what waits.
            holder, count = await self._admitted(form, read(content), holder)
            batch = ReceivedBatch(
                source=holder.source,
                form=form.name,
                received_at=self._clock(),
                content=content,
                details=orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode() if details else None,
            )
            await self._reception.keep(batch)
        self._meters.batches.labels(form.name, holder.source).inc()
        self._meters.items.labels(form.name, holder.source).inc(count)
        self._meters.bytes.inc(len(content))

    async def _admitted(self, form: Form, value: Any, holder: Holder | None) -> tuple[Holder, int]:
        """Whose it is, and how many events; an exception if it is not let in."""
        if holder is None:
            holder = await self._holder(form.key(value))
        if wait := self._rates.wait(str(holder.key_id), time.monotonic()):
            raise Overloaded(wait)
        found = form.items(value)
        count = len(found) if isinstance(found, list) else 1
        if count > self._rules.most_items:
            raise too_large(f"{count:,} events in one batch; allowed: {self._rules.most_items:,}")
        return holder, count

    async def _holder(self, key: Any) -> Holder:
        if not isinstance(key, str) or not key:
            raise _unauthorised(NO_KEY)
        found = await self._keyring.holder(key) if len(key) <= LONGEST_KEY else None
        if found is None:
            raise _unauthorised(BAD_KEY)
        return found


def _unauthorised(detail: str) -> HTTPException:
    # No challenge of Basic authentication: a browser would ask the visitor of a page for a password.
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})


def key_of(request: Request) -> str | None:
    """The key in the header Authorization: the user name of Basic, or a Bearer token."""
    scheme, _, said = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return said.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(said.strip(), validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return None
    user, _, password = pair.partition(":")
    return user or password or None


def member(value: Any, *names: str) -> Any:
    """The first of these members that an object has and that is not empty."""
    if not isinstance(value, dict):
        return None
    return next((value[name] for name in names if value.get(name)), None)
