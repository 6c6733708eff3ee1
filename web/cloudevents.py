"""The endpoint for CloudEvents 1.0 over HTTP: one event structured or binary, or several in a batch.

Decides in which mode a request is (HTTP protocol binding 3): libraries leave out the Content-Type in binary mode, so
the `ce-` headers tell. What an event says: models.rules.cloudevents.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from web.collector import Collector, Form, parsed
from web.documentation import REFUSALS, SECURITY, body

PATH = "/v1/cloudevents"
PATHS = frozenset([PATH])
ALIASES = {f"{PATH}/": PATH}
FORM = Form("cloudevents", lambda value: None, lambda value: value)
ATTRIBUTES = 100
"""`ce-` headers of one request; of all headers uvicorn takes 16 kB."""
_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7",
    "source": "/shop",
    "type": "example.shop.demo_requested",
    "data": {"email": "ann@acme.example"},
}


def cloudevents_routes(collector: Collector) -> APIRouter:
    """The routes. The answer has no body: brokers would take one for an event in reply."""
    router = APIRouter(tags=["CloudEvents"])

    async def take(request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name.startswith("ce-")}
        if len(headers) > ATTRIBUTES:
            raise HTTPException(400, f"{len(headers)} attributes; allowed: {ATTRIBUTES}")
        if not headers:
            await collector.take(request, FORM, {"mode": "structured"})
            return Response()
        kind = request.headers.get("content-type", "")
        details = {"mode": "binary", "headers": headers, **({"content_type": kind} if kind else {})}

        def read(content: bytes) -> Any:
            # The body is the event's data, which may be anything that its Content-Type says; or there is none.
            return parsed(content) and None if content.strip() and (not kind or "json" in kind.lower()) else None

        await collector.take(request, FORM, details, read=read)
        return Response()

    for path in (PATH, "/"):  # many senders can be told a host alone
        router.add_api_route(
            path,
            take,
            methods=["POST"],
            operation_id="cloudevents",
            summary="An event, or several; binary mode with `ce-` headers",
            responses={200: {"description": "Kept on the disk."}, **REFUSALS},
            response_class=Response,
            openapi_extra={"security": SECURITY, "requestBody": body(_BODY, _CONTENTS)},
            include_in_schema=path == PATH,
        )
    return router


_BODY = "The event as JSON; a list of them; or in binary mode its data alone (or none), with or without a Content-Type."
_CONTENTS: dict[str, dict[str, Any]] = {
    "application/cloudevents+json": {"structured": _EVENT},
    "application/cloudevents-batch+json": {"batch": [_EVENT]},
    "application/json": {"data": _EVENT["data"]},
}
