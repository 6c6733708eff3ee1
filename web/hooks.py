"""/v1/hooks/NAME: webhooks from outside, believed by their signature, kept on the disk before their sender hears 200.

Decides who is heard: 404 for a name that `hooks` of warmline.yaml does not have, 401 for whoever proves nothing. What
an event says is read later (tasks.drain, by models.rules.hooks.reading).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from models.rules.collector import Rates
from models.rules.hooks import sns
from models.rules.hooks.form_fields import is_form
from models.rules.hooks.settings import Hook, Provider
from models.rules.hooks.signatures import Call, once, refusal
from models.rules.records import RecordError
from models.tables import ReceivedBatch
from models.workspace import Workspace
from web.bodies import Bodies
from web.collector import parsed
from web.documentation import REFUSALS, body, json_answer
from web.meters import Meters
from web.reception import Overloaded, Reception
from web.sns import RETRY_SECONDS, Amazon, UnreachableError

log = logging.getLogger("warmline.hooks")
FORM = "hook"
PATH = "/v1/hooks/{source}"
TOKENS = 20_000
"""Tokens of a provider that signs them instead of the body, remembered until others push them out."""
LOGGED_PER_SECOND = 0.2
_KEPT = json_answer("Kept on the disk.", {"type": "object", "properties": {"kept": {"type": "boolean"}}})
_UNKNOWN = {"description": "There is no hook of this name.", "content": REFUSALS[401]["content"]}


@dataclass
class _Door:
    """One hook: what its sender proves itself with, and what is kept beside each of its bodies."""

    name: str
    hook: Hook
    secrets: tuple[str, ...]
    details: dict[str, Any]
    certificate: bytes | None = None
    """Of SNS, where the workspace has it in a file."""
    tokens: OrderedDict[str, bytes] = field(default_factory=OrderedDict)

    def said_otherwise(self, token: str, content: bytes) -> bool:
        """Whether this token came with another body before: it is signed, the body is not."""
        digest = hashlib.blake2b(content, digest_size=16).digest()
        known = self.tokens.setdefault(token[:200], digest)
        if len(self.tokens) > TOKENS:
            self.tokens.popitem(last=False)
        return known != digest

    @property
    def challenge(self) -> str:
        """For the header WWW-Authenticate."""
        schemes = {auth.scheme for auth in self.hook.auths}
        return 'Basic realm="hooks"' if "basic" in schemes else "Bearer" if schemes & {"bearer"} else "Signature"


def hook_routes(
    workspace: Workspace,
    clock: Callable[[], int],
    bodies: Bodies,
    reception: Reception,
    meters: Meters,
    amazon: Amazon | None = None,
) -> APIRouter:
    """The routes. `clock` gives programme time in microseconds. ConfigurationError if a hook cannot be opened."""
    router = APIRouter(tags=["Webhooks"])
    service = _Service(workspace, clock, bodies, reception, meters, amazon or Amazon())

    @router.post(
        PATH,
        operation_id="hook",
        summary="A webhook of a provider, or of anybody with a mapping",
        response_class=JSONResponse,
        responses={200: _KEPT, 404: _UNKNOWN, **REFUSALS},
        openapi_extra={"requestBody": body(_BODY, _CONTENTS)},
    )
    async def take(source: str, request: Request) -> Response:
        return JSONResponse({"kept": await service.take(source, request)})

    @router.head(
        PATH,
        operation_id="hookExists",
        summary="Whether there is a hook of this name, as some senders ask before they send",
        response_class=Response,
        responses={200: {"description": "There is one."}, 404: {"description": "There is none."}, 429: REFUSALS[429]},
    )
    async def exists(source: str) -> Response:
        return Response(status_code=200 if source in service.doors else 404)

    return router


_BODY = "What the provider sends, untouched: its signature covers every byte."
_CONTENTS: dict[str, dict[str, Any]] = {
    "application/json": {"sendgrid": [{"event": "open", "email": "ann@acme.example", "timestamp": 1700000000}]},
    "application/x-www-form-urlencoded": {},
    "multipart/form-data": {},
    "text/plain": {},
}


class _Service:
    """The acts behind the routes."""

    def __init__(
        self,
        workspace: Workspace,
        clock: Callable[[], int],
        bodies: Bodies,
        reception: Reception,
        meters: Meters,
        amazon: Amazon,
    ) -> None:
        self._clock, self._bodies, self._reception, self._meters = clock, bodies, reception, meters
        self._amazon, self._base = amazon, (workspace.settings.base_url or "").rstrip("/")
        self._rates = Rates(workspace.settings.collector.per_key)
        self._logged = Rates(LOGGED_PER_SECOND)
        self.doors = {name: _door(workspace, name, hook) for name, hook in workspace.settings.hooks.items()}

    async def take(self, name: str, request: Request) -> bool:
        """Keep what the request brings; False if it was genuine, and nothing that has to be kept.

        HTTPException (400, 401, 404, 408, 413, 415), Overloaded (429) or StorageError (503) if it was not kept.
        """
        door = self.doors.get(name)
        if door is None:
            raise HTTPException(404, "there is no hook of this name")
        if wait := self._rates.wait(name, time.monotonic()):
            raise Overloaded(wait)
        async with self._bodies.read(request) as content:
            call = Call(request.method, self._address(request), dict(request.headers), content, self._clock())
            if door.hook.provider is Provider.SES:
                if not await self._heard(door, call):
                    return False
            elif why := refusal(door.hook, door.secrets, call):
                raise self._unbelieved(door, why)
            elif (token := once(door.hook, call)) is not None and door.said_otherwise(token, content):
                raise self._unbelieved(door, "its token came with another body before")
            content_type = request.headers.get("content-type", "")[:200]
            if not is_form(content_type):
                parsed(content)
            await self._keep(door, call, content_type)
        return True

    async def _keep(self, door: _Door, call: Call, content_type: str) -> None:
        details = {**door.details, "content_type": content_type}
        packed = orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()
        batch = ReceivedBatch(source=door.name, form=FORM, received_at=call.at, content=call.body, details=packed)
        await self._reception.keep(batch)
        self._meters.batches.labels(FORM, door.name).inc()
        self._meters.bytes.inc(len(call.body))

    async def _heard(self, door: _Door, call: Call) -> bool:
        """Whether a message of SNS has to be kept; all that is not genuine is refused."""
        parsed(call.body)
        try:
            envelope = sns.opened(call.body)
        except RecordError as error:
            raise self._unbelieved(door, str(error)) from error
        if why := sns.unwelcome(door.hook, envelope, call.at):
            raise self._unbelieved(door, why)
        try:
            certificate = door.certificate or await self._amazon.certificate(envelope.certificate_url)
            if why := sns.forged(envelope, certificate, call.at):
                raise self._unbelieved(door, why)
            if envelope.kind == sns.SUBSCRIPTION:
                if why := sns.unconfirmable(envelope):
                    raise self._unbelieved(door, why)
                await self._amazon.confirm(envelope.subscribe_url, envelope.topic)
        except UnreachableError as error:
            self._note(door, str(error))
            raise HTTPException(503, str(error), {"Retry-After": str(RETRY_SECONDS)}) from error
        if envelope.kind == sns.GOODBYE:
            log.warning("hook %s: %s sends nothing any more: somebody has unsubscribed it", door.name, envelope.topic)
        return envelope.kind == sns.NOTIFICATION

    def _address(self, request: Request) -> str:
        """The address that the sender called, as it wrote it: behind a proxy only `base_url` knows."""
        base = self._base or f"{request.url.scheme}://{request.url.netloc}"
        return f"{base}{request.url.path}{f'?{request.url.query}' if request.url.query else ''}"

    def _unbelieved(self, door: _Door, why: str) -> HTTPException:
        self._note(door, why)
        return HTTPException(401, why, {"WWW-Authenticate": door.challenge})

    def _note(self, door: _Door, why: str) -> None:
        if not self._logged.wait(door.name, time.monotonic()):
            log.warning("hook %s: a request was refused: %s", door.name, why)


def _door(workspace: Workspace, name: str, hook: Hook) -> _Door:
    details: dict[str, Any] = {"hook": name, "provider": hook.provider.value}
    if hook.mapping_name is not None:
        details["mapping"] = hook.mapping_name
        if records := workspace.mapping(hook.mapping_name).records:
            details["records"] = records
    pinned = workspace.read_text(hook.certificate).encode() if hook.certificate else None
    return _Door(name, hook, workspace.hook_secrets[name], details, pinned)
