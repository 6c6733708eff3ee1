"""What every request passes first: how often its address may come, which pages' scripts may ask, and a count of it.

Decides 429 by address and the answers to browsers (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol). Never
looks into a body.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.rules.collector import CollectorRules, Rates, customer
from web.meters import Meters

PREFLIGHT_SECONDS = 86_400
_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())


class Gate:
    """ASGI middleware around the whole application. `is_scripted`: whether scripts of web pages may ask for a path;
    `aliases`: paths that are called another way, too."""

    def __init__(
        self,
        app: ASGIApp,
        rules: CollectorRules,
        meters: Meters,
        is_scripted: Callable[[str], bool],
        aliases: Mapping[str, str],
    ) -> None:
        self._app, self._rules, self._meters = app, rules, meters
        self._is_scripted, self._aliases = is_scripted, aliases
        self._rates = Rates(rules.per_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        headers = Headers(scope=scope)
        scope["path"] = self._aliases.get(scope["path"], scope["path"])
        cors = self._cors(scope["path"], headers)

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = MutableHeaders(scope=message)
                sent.update(cors)
                sent.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        try:
            early = self._answer(scope, headers, cors)
            await (early or self._app)(scope, receive, answered)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._meters.requests.labels(route, method, str(status)).inc()
            self._meters.seconds.labels(route).observe(time.perf_counter() - began)

    def _answer(self, scope: Scope, headers: Headers, cors: dict[str, str]) -> Response | None:
        """What is answered without asking the application."""
        client = scope.get("client")
        if wait := self._rates.wait(customer(client[0]) if client else "", time.monotonic()):
            return refused(wait, "too many requests from this address")
        if scope["method"] == "OPTIONS" and "Access-Control-Allow-Origin" in cors:
            cors["Access-Control-Allow-Methods"] = "GET, POST"
            cors["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
            if (asked := headers.get("access-control-request-headers", "")) and len(asked) <= 1_000:
                cors["Access-Control-Allow-Headers"] = asked
            return Response(status_code=204)
        return None

    def _cors(self, path: str, headers: Headers) -> dict[str, str]:
        origin = headers.get("origin")
        if origin is None or not self._is_scripted(path):
            return {}
        if not self._rules.allows(origin):
            return {"Vary": "Origin"}
        # The origin by its name and with credentials, though there is no cookie: navigator.sendBeacon always asks so.
        allowed = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        return {**allowed, "Access-Control-Expose-Headers": "Retry-After", "Vary": "Origin"}


def refused(wait: int, detail: str) -> JSONResponse:
    """The answer 429: come again in `wait` seconds."""
    return JSONResponse({"detail": detail}, 429, {"Retry-After": str(wait)})
